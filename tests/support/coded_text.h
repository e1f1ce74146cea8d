// One text in every content coding, for tests of decoding.
#pragma once

#include <zlib.h>
#include <zstd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace offloop::testing {

/// 20,000 bytes.
inline std::string plain_text() {
  std::string text;
  for (int i = 0; text.size() < 20'000; ++i) text += std::to_string(i % 50) + " the body, the body\n";
  text.resize(20'000);
  return text;
}

/// `window_bits` as zlib's: 31 gzip, 15 zlib, -15 neither header nor checksum.
inline std::string zlib_packed(std::string_view text, int window_bits) {
  z_stream stream{};
  if (deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  std::string packed(deflateBound(&stream, static_cast<uLong>(text.size())) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("deflate");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string gzip_packed(std::string_view text) {
  return zlib_packed(text, 31);
}

/// With a checksum; `window_log` above 23 is more than a client takes.
inline std::string zstd_packed(std::string_view text, int window_log = 0) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  std::string packed(ZSTD_compressBound(text.size()) + 64, '\0');
  ZSTD_outBuffer out{packed.data(), packed.size(), 0};
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  while (in.pos < in.size) ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush);  // its size is not known before
  while (ZSTD_compressStream2(context, &out, &in, ZSTD_e_end) != 0) {
  }
  ZSTD_freeCCtx(context);
  packed.resize(out.pos);
  return packed;
}

/// plain_text() by BrotliEncoderCompress(11, 22, BROTLI_MODE_TEXT).
inline std::string brotli_packed_plain_text() {
  constexpr std::string_view kHex =
      "1b1f4e008c54b53f37189b97344a8105997000304c2db943a2f0562a50558c415e260a8a66580e97c7df84312ddb713d5e1f3f0ba6653b"
      "aec7ebe367c3b46cc7f5787dfc1c9896edb81eaf8fff9841001501";
  std::string packed;
  for (std::size_t i = 0; i < kHex.size(); i += 2) {
    packed += static_cast<char>(std::stoi(std::string(kHex.substr(i, 2)), nullptr, 16));
  }
  return packed;
}

struct Coded {
  std::string coding;
  std::string packed;
  bool checked;  ///< it has a checksum of the whole
};

inline std::vector<Coded> coded_texts() {
  const std::string text = plain_text();
  return {{"gzip", gzip_packed(text), true},
          {"deflate", zlib_packed(text, 15), true},
          {"deflate", zlib_packed(text, -15), false},
          {"br", brotli_packed_plain_text(), false},
          {"zstd", zstd_packed(text), true}};
}

}  // namespace offloop::testing
