// Content codings (RFC 9110 section 8.4): gzip, deflate, br and zstd as one interface, one file each. Ours and not
// libcurl's, because libcurl does not say whether a compressed stream came to its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/fetch/headers.h"

namespace offloop::fetch {

/// Decodes one coding, piece by piece. Not shared between threads.
class ContentDecoder {
 public:
  struct Step {
    std::size_t consumed = 0;      ///< bytes of `in` that are done with
    std::size_t produced = 0;      ///< bytes written to `out`
    const char* broken = nullptr;  ///< what is wrong with the stream, in words; the decoder is of no more use
    bool out_of_memory = false;    ///< likewise
  };

  virtual ~ContentDecoder() = default;

  /// Takes from `in` and writes to `out` until one of them is used up. Where `out` was filled there may be more to come
  /// without further input: then call again, with an empty `in` if need be.
  virtual Step decode(ByteSpan in, std::span<std::uint8_t> out) noexcept = 0;

  /// The stream may end here: it is complete, or nothing of it came.
  [[nodiscard]] virtual bool complete() const noexcept = 0;

  /// As it stands in a header: "gzip".
  [[nodiscard]] virtual const char* name() const noexcept = 0;
};

/// Null when libraries have no memory; never throws.
std::unique_ptr<ContentDecoder> make_gzip_decoder() noexcept;
std::unique_ptr<ContentDecoder> make_deflate_decoder() noexcept;
std::unique_ptr<ContentDecoder> make_brotli_decoder() noexcept;
std::unique_ptr<ContentDecoder> make_zstd_decoder() noexcept;

/// For the Content-Encoding lines of a response; null when there is nothing to decode. kContentDecoding names a coding
/// that is not known, or says that there are too many; kOutOfMemory. [any thread]
Result<std::unique_ptr<ContentDecoder>> make_content_decoder(const HeaderBlock& headers);

/// The value for Accept-Encoding.
inline constexpr const char* kAcceptEncoding = "gzip, deflate, br, zstd";

}  // namespace offloop::fetch
