// Digests and the names of the algorithms that make them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"

namespace offloop::hash {

/// At most 64 bytes (SHA-512, BLAKE2b).
struct Digest {
  std::uint8_t size = 0;
  std::uint8_t bytes[64] = {};

  [[nodiscard]] ByteSpan span() const noexcept { return {bytes, size}; }
  [[nodiscard]] std::string hex() const { return to_hex(span()); }
  bool operator==(const Digest& other) const noexcept;
};

/// One hash function. Objects live as long as the process; compare by address.
class Algorithm {
 public:
  /// hashlib's name: "sha256", "sha512", "sha3_256", "blake2b", "md5", ... Unknown: kInvalidArgument that lists what
  /// there is.
  static Result<const Algorithm*> find(std::string_view name);
  static const Algorithm& sha256() noexcept;
  /// Every name that find() takes, sorted.
  static std::vector<std::string> names();

  [[nodiscard]] const char* name() const noexcept { return name_; }
  [[nodiscard]] unsigned digest_size() const noexcept { return digest_size_; }
  /// True for the one that runs on our own kernels, in lanes; the others run by OpenSSL's EVP.
  [[nodiscard]] bool has_lanes() const noexcept { return evp_ == nullptr; }
  [[nodiscard]] const void* evp() const noexcept { return evp_; }

  constexpr Algorithm(const char* algorithm, unsigned size, const void* evp) noexcept
      : name_(algorithm), digest_size_(size), evp_(evp) {}

 private:
  const char* name_;
  unsigned digest_size_;
  const void* evp_;  ///< const EVP_MD*; null for our own SHA-256
};

}  // namespace offloop::hash
