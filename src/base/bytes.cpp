#include "offloop/base/bytes.h"

namespace offloop {

void write_hex(const std::uint8_t* bytes, std::size_t n, char* out) noexcept {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < n; ++i) {
    out[2 * i] = kDigits[bytes[i] >> 4];
    out[2 * i + 1] = kDigits[bytes[i] & 15];
  }
}

std::string to_hex(ByteSpan bytes) {
  std::string text(bytes.size() * 2, '\0');
  write_hex(bytes.data(), bytes.size(), text.data());
  return text;
}

}  // namespace offloop
