// PNG without libpng, for what nearly every large one is. A picture of moderate size is inflated in one go by
// libdeflate, twice as fast as zlib; a larger one row by row by zlib, so that it need not be in memory whole and a stop
// is seen soon.
#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "image/png_decode.h"
#include "image/png_filter.h"

namespace offloop::image::png {
namespace {

/// Inflated in one go, in 40 ms or less; nothing can stop it.
constexpr std::size_t kWholeBytes = 16U << 20;
/// Filters read some bytes behind a row.
constexpr std::size_t kPadding = 8;

struct Layout {
  int step;           // bytes of a pixel
  std::size_t bytes;  // of a row, without its filter's number
  std::uint32_t height;
};

/// Goes over the pixels' chunks, which follow each other.
class PixelChunks {
 public:
  PixelChunks(ByteSpan file, const Header& header, FailOn fail_on) noexcept
      : chunks_(file, header.pixels_at), strict_(fail_on == FailOn::kError) {}
  /// False at the end, and where a checksum is wrong.
  bool next(ByteSpan& data) noexcept {
    Chunk chunk;
    if (!chunks_.next(chunk) || chunk.type != chunk_type("IDAT")) return false;
    if (strict_ && chunk.whole && !chunk.intact()) return !(damaged_ = true);
    data = chunk.data;
    return true;
  }
  [[nodiscard]] bool damaged() const noexcept { return damaged_; }

 private:
  Chunks chunks_;
  bool strict_;
  bool damaged_ = false;
};

/// All of the filtered rows, or nothing when anything at all is wrong with the stream.
std::unique_ptr<std::uint8_t[]> inflate_whole(ByteSpan file, const Header& header, const Layout& layout,
                                              FailOn fail_on) {
  const std::size_t size = (layout.bytes + 1) * layout.height;
  PixelChunks chunks(file, header, fail_on);
  ByteSpan compressed;
  std::vector<std::uint8_t> joined;
  if (!chunks.next(compressed)) return nullptr;
  if (compressed.size() != header.pixels_bytes) {
    joined.reserve(header.pixels_bytes);
    do {
      joined.insert(joined.end(), compressed.begin(), compressed.end());
    } while (chunks.next(compressed));
    compressed = joined;
  }
  if (chunks.damaged()) return nullptr;
  std::unique_ptr<std::uint8_t[]> rows(new std::uint8_t[size + kPadding]);
  std::memset(rows.get() + size, 0, kPadding);
  const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (inflater == nullptr) throw std::bad_alloc();
  if (libdeflate_zlib_decompress(inflater.get(), compressed.data(), compressed.size(), rows.get(), size, nullptr) !=
      LIBDEFLATE_SUCCESS) {
    return nullptr;
  }
  return rows;
}

/// The inflated stream, a row at a time.
class RowStream {
 public:
  RowStream(ByteSpan file, const Header& header, FailOn fail_on, const Stop& stop) noexcept
      : chunks_(file, header, fail_on), stop_(stop) {
    ready_ = inflateInit(&stream_) == Z_OK;
  }
  RowStream(const RowStream&) = delete;
  RowStream& operator=(const RowStream&) = delete;
  ~RowStream() {
    if (ready_) inflateEnd(&stream_);
  }
  [[nodiscard]] bool ready() const noexcept { return ready_; }

  /// The next bytes. False when the stream ends before, is broken, or a stop was seen; then the rest of `row` is zero.
  bool read(std::uint8_t* row, std::size_t bytes) noexcept {
    stream_.next_out = row;
    for (std::size_t left = bytes; left > 0;) {
      if (stream_.avail_in == 0 && !refill()) return give_up(left);
      const auto asked = static_cast<uInt>(std::min(left, kPiece));
      stream_.avail_out = asked;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      left -= asked - stream_.avail_out;
      since_look_ += asked - stream_.avail_out;
      if (since_look_ >= kPiece) {
        since_look_ = 0;
        if ((stopped_ = stop_.requested()) != ErrorCode::kOk) return give_up(left);
      }
      if (left > 0 && status != Z_OK && !(status == Z_BUF_ERROR && stream_.avail_in == 0)) return give_up(left);
    }
    return true;
  }

  /// kOk, or why the last read ended early.
  [[nodiscard]] ErrorCode stopped() const noexcept { return stopped_; }

  /// After the last row: whether the checksum over all rows is wrong. A stream that lacks its end has lost nothing.
  bool wrong_at_the_end() noexcept {
    std::uint8_t more = 0;
    while (stream_.avail_in > 0 || refill()) {
      stream_.next_out = &more;
      stream_.avail_out = 1;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_DATA_ERROR) return true;
      if (status != Z_OK || stream_.avail_out == 0) return false;  // rows that nobody asked for are no damage
    }
    return chunks_.damaged();
  }

 private:
  bool refill() noexcept {
    ByteSpan data;
    do {
      if (!chunks_.next(data)) return false;
    } while (data.empty());
    stream_.next_in = const_cast<Bytef*>(data.data());
    stream_.avail_in = static_cast<uInt>(data.size());
    return true;
  }
  bool give_up(std::size_t left) noexcept {
    std::memset(stream_.next_out, 0, left);
    return false;
  }

  static constexpr std::size_t kPiece = 64U << 10;  // between two looks at the stop: 0.2 ms

  PixelChunks chunks_;
  const Stop& stop_;
  z_stream stream_{};
  std::size_t since_look_ = 0;
  ErrorCode stopped_ = ErrorCode::kOk;
  bool ready_ = false;
};

/// So that a stop is seen every few hundred microseconds.
std::uint32_t rows_between_looks(const Layout& layout) noexcept {
  return static_cast<std::uint32_t>(std::max<std::size_t>(1, (64U << 10) / layout.bytes));
}

Result<Unit> deliver_whole(std::uint8_t* rows, const Layout& layout, FailOn fail_on, RowSink& sink, const Stop& stop) {
  const std::vector<std::uint8_t> nothing(layout.bytes + kPadding);
  const std::uint8_t* above = nothing.data();
  const std::uint32_t look = rows_between_looks(layout);
  for (std::uint32_t y = 0; y < layout.height && !sink.full(); ++y) {
    if (y % look == 0) {
      if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
    }
    std::uint8_t* row = rows + y * (layout.bytes + 1) + 1;
    if (!undo_filter(row[-1], row, above, layout.bytes, layout.step) && fail_on == FailOn::kError) {
      return broken_png("unknown filter");
    }
    sink.row(0, row);
    above = row;
  }
  return Unit{};
}

Result<Unit> deliver_streamed(RowStream& stream, const Layout& layout, FailOn fail_on, RowSink& sink,
                              const Stop& stop) {
  const bool strict = fail_on == FailOn::kError;
  std::vector<std::uint8_t> lines(2 * (layout.bytes + 1 + kPadding));
  std::uint8_t* now = lines.data();
  std::uint8_t* above = lines.data() + lines.size() / 2;
  bool whole = true;
  if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
  for (std::uint32_t y = 0; y < layout.height; ++y) {
    if (sink.full()) return Unit{};
    if (whole && !stream.read(now, layout.bytes + 1)) {
      if (stream.stopped() != ErrorCode::kOk) return stop_error(stream.stopped());
      if (strict) return broken_png("the pixels are damaged or end too early");
      whole = false;
    } else if (!whole) {
      std::memset(now, 0, layout.bytes + 1);
    }
    if (!undo_filter(now[0], now + 1, above + 1, layout.bytes, layout.step) && strict)
      return broken_png("unknown filter");
    sink.row(0, now + 1);
    std::swap(now, above);
  }
  if (strict && stream.wrong_at_the_end()) return broken_png("the checksum of its pixels is wrong");
  return Unit{};
}

}  // namespace

int stored_channels(std::uint8_t color) noexcept {
  return color == kRgba ? 4 : color == kRgb ? 3 : color == kGreyAlpha ? 2 : 1;
}

bool is_plain(const Header& header) noexcept {
  return header.depth == 8 && header.color != kPalette && !header.interlaced && !header.transparency;
}

Result<Unit> decode_plain(ByteSpan file, const Header& header, FailOn fail_on, RowSink& sink, const Stop& stop) {
  const int step = stored_channels(header.color);
  const Layout layout{step, static_cast<std::size_t>(header.width) * static_cast<std::size_t>(step), header.height};
  if ((layout.bytes + 1) <= kWholeBytes / layout.height) {
    if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
    const auto rows = inflate_whole(file, header, layout, fail_on);
    if (rows != nullptr) return deliver_whole(rows.get(), layout, fail_on, sink, stop);
    // What is wrong, and how much can be saved, comes out row by row.
  }
  RowStream stream(file, header, fail_on, stop);
  if (!stream.ready()) throw std::bad_alloc();
  return deliver_streamed(stream, layout, fail_on, sink, stop);
}

}  // namespace offloop::image::png
