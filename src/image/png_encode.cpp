// PNG without libpng: rows are filtered, then compressed; a picture of moderate size by libdeflate, which takes a third
// of zlib's time for the same size, but cannot be interrupted; a larger one by zlib, row by row.
#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "image/encoder.h"
#include "image/png_chunks.h"
#include "image/png_filter.h"

namespace offloop::image {
namespace {

using namespace std::string_view_literals;
using png::chunk_type;

constexpr std::size_t kChunkBytes = 1U << 20;  // of zlib's output that become one IDAT chunk

/// Compressed in one go: about 40 ms.
constexpr std::size_t whole_bytes(int level) noexcept {
  return level <= 6 ? 8U << 20 : 2U << 20;
}

struct DeflateFree {
  void operator()(libdeflate_compressor* p) const noexcept { libdeflate_free_compressor(p); }
};

Bytes deflate_whole(ByteSpan data, int level) {
  const std::unique_ptr<libdeflate_compressor, DeflateFree> compressor(libdeflate_alloc_compressor(level));
  if (compressor == nullptr) throw std::bad_alloc();
  Bytes out(libdeflate_zlib_compress_bound(compressor.get(), data.size()));
  out.resize(libdeflate_zlib_compress(compressor.get(), data.data(), data.size(), out.data(), out.size()));
  return out;
}

void put_number(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

void put_chunk(Bytes& out, std::uint32_t type, ByteSpan data) {
  put_number(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = out.size();
  put_number(out, type);
  out.insert(out.end(), data.begin(), data.end());
  put_number(out, libdeflate_crc32(0, out.data() + begin, out.size() - begin));
}

std::uint8_t color_type(Model model) noexcept {
  switch (model) {
    case Model::kGrey:
      return png::kGrey;
    case Model::kGreyAlpha:
      return png::kGreyAlpha;
    case Model::kRgb:
      return png::kRgb;
    default:
      return png::kRgba;
  }
}

void put_header(Bytes& out, const Pixels& pixels, bool interlaced) {
  constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n"sv;
  out.assign(kSignature.begin(), kSignature.end());
  Bytes header;
  put_number(header, static_cast<std::uint32_t>(pixels.width));
  put_number(header, static_cast<std::uint32_t>(pixels.height));
  header.insert(header.end(), {8, color_type(pixels.model), 0, 0, static_cast<std::uint8_t>(interlaced ? 1 : 0)});
  put_chunk(out, chunk_type("IHDR"), header);
}

void put_metadata(Bytes& out, const Metadata& metadata) {
  if (!metadata.icc.empty()) {
    constexpr std::string_view kName = "icc\0\0"sv;  // a name, and zlib as the method
    Bytes profile(kName.begin(), kName.end());
    const Bytes packed = deflate_whole(metadata.icc, 6);
    profile.insert(profile.end(), packed.begin(), packed.end());
    put_chunk(out, chunk_type("iCCP"), profile);
  }
  if (!metadata.exif.empty()) put_chunk(out, chunk_type("eXIf"), metadata.exif);
  if (!metadata.xmp.empty()) {
    constexpr std::string_view kKeyword =
        "XML:com.adobe.xmp\0\0\0\0\0"sv;  // not compressed, no language, no translation
    Bytes text(kKeyword.begin(), kKeyword.end());
    text.insert(text.end(), metadata.xmp.begin(), metadata.xmp.end());
    put_chunk(out, chunk_type("iTXt"), text);
  }
}

/// One of the pictures that an interlaced one is made of; a plain one has one of them.
struct Pass {
  int x, y, step_x, step_y;
};
constexpr Pass kAdam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                           {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
constexpr Pass kPlain[] = {{0, 0, 1, 1}};

int pass_width(const Pass& pass, int width) noexcept {
  return width <= pass.x ? 0 : (width - pass.x + pass.step_x - 1) / pass.step_x;
}

void gather(const std::uint8_t* row, const Pass& pass, int width, std::size_t channels, std::uint8_t* to) noexcept {
  for (int x = pass.x; x < width; x += pass.step_x, to += channels) {
    std::memcpy(to, row + static_cast<std::size_t>(x) * channels, channels);
  }
}

/// Calls `take(filtered, bytes)` for each row, top down, pass by pass. `take` returns what it has to say about going
/// on.
template <class Take>
ErrorCode for_each_row(const Pixels& pixels, bool interlaced, const Stop& stop, Take take) {
  const Plane& plane = pixels.planes[0];
  const auto channels = static_cast<std::size_t>(plane.channels);
  const std::size_t row_bytes = static_cast<std::size_t>(plane.width) * channels;
  png::FilterChooser filter(row_bytes, plane.channels);
  Bytes part(interlaced ? row_bytes : 0);
  for (const Pass& pass : interlaced ? std::span<const Pass>(kAdam7) : std::span<const Pass>(kPlain)) {
    const int width = pass_width(pass, plane.width);
    if (width == 0) continue;
    const std::size_t bytes = static_cast<std::size_t>(width) * channels;
    filter.restart();
    for (int y = pass.y; y < plane.height; y += pass.step_y) {
      if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return code;
      const std::uint8_t* row = plane.row(y);
      if (pass.step_x > 1) {
        gather(row, pass, plane.width, channels, part.data());
        row = part.data();
      }
      if (const ErrorCode code = take(filter.choose(row, bytes), bytes + 1); code != ErrorCode::kOk) return code;
    }
  }
  return ErrorCode::kOk;
}

ErrorCode put_pixels_whole(Bytes& out, const Pixels& pixels, const Output& output, const Stop& stop, std::size_t most) {
  Bytes rows;
  rows.reserve(most);
  const ErrorCode code =
      for_each_row(pixels, output.progressive, stop, [&](const std::uint8_t* row, std::size_t bytes) {
        rows.insert(rows.end(), row, row + bytes);
        return ErrorCode::kOk;
      });
  if (code != ErrorCode::kOk) return code;
  put_chunk(out, chunk_type("IDAT"), deflate_whole(rows, output.compression));
  return stop.requested();
}

/// zlib's stream, cut into chunks.
class PixelStream {
 public:
  PixelStream(Bytes& out, int level, const Stop& stop) : out_(out), stop_(stop), buffer_(kChunkBytes) {
    constexpr int kWindowBits = 15;
    constexpr int kMemoryLevel = 8;
    if (deflateInit2(&stream_, level, Z_DEFLATED, kWindowBits, kMemoryLevel, Z_FILTERED) != Z_OK)
      throw std::bad_alloc();
    empty_buffer();
  }
  PixelStream(const PixelStream&) = delete;
  PixelStream& operator=(const PixelStream&) = delete;
  ~PixelStream() { deflateEnd(&stream_); }

  ErrorCode write(const std::uint8_t* data, std::size_t bytes) {
    while (bytes > 0) {
      const auto piece = static_cast<uInt>(std::min<std::size_t>(bytes, 256U << 10));  // a stop is seen between two
      stream_.next_in = const_cast<Bytef*>(data);
      stream_.avail_in = piece;
      while (stream_.avail_in > 0) {
        deflate(&stream_, Z_NO_FLUSH);
        if (stream_.avail_out == 0) put_buffer();
      }
      data += piece;
      bytes -= piece;
      if (const ErrorCode code = stop_.requested(); code != ErrorCode::kOk) return code;
    }
    return ErrorCode::kOk;
  }
  void finish() {
    stream_.avail_in = 0;
    while (deflate(&stream_, Z_FINISH) != Z_STREAM_END) put_buffer();
    put_buffer();
  }

 private:
  void empty_buffer() noexcept {
    stream_.next_out = buffer_.data();
    stream_.avail_out = static_cast<uInt>(buffer_.size());
  }
  void put_buffer() {
    const std::size_t used = buffer_.size() - stream_.avail_out;
    if (used > 0) put_chunk(out_, chunk_type("IDAT"), ByteSpan(buffer_).first(used));
    empty_buffer();
  }

  Bytes& out_;
  const Stop& stop_;
  Bytes buffer_;
  z_stream stream_{};
};

ErrorCode put_pixels_streamed(Bytes& out, const Pixels& pixels, const Output& output, const Stop& stop) {
  PixelStream stream(out, output.compression, stop);
  const ErrorCode code =
      for_each_row(pixels, output.progressive, stop,
                   [&](const std::uint8_t* row, std::size_t bytes) { return stream.write(row, bytes); });
  if (code == ErrorCode::kOk) stream.finish();
  return code;
}

}  // namespace

Result<Bytes> encode_png(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop) {
  if (pixels.model == Model::kYcc || pixels.planes.size() != 1) {
    return Error(ErrorCode::kInternal, "PNG takes one interleaved plane");
  }
  Bytes out;
  put_header(out, pixels, output.progressive);
  put_metadata(out, metadata);
  const Plane& plane = pixels.planes[0];
  const std::size_t row = static_cast<std::size_t>(plane.width) * static_cast<std::size_t>(plane.channels) + 1;
  // An interlaced picture has up to 15 rows for 8, each with its filter's number.
  const std::size_t filtered =
      row * static_cast<std::size_t>(plane.height) + 2 * static_cast<std::size_t>(plane.height) + 16;
  const ErrorCode code = filtered <= whole_bytes(output.compression)
                             ? put_pixels_whole(out, pixels, output, stop, filtered)
                             : put_pixels_streamed(out, pixels, output, stop);
  if (code != ErrorCode::kOk) return stop_error(code);
  put_chunk(out, chunk_type("IEND"), {});
  return out;
}

}  // namespace offloop::image
