// PNG by libpng: palettes, fewer or more than 8 bits, transparent colours, interlaced.
//
// libpng leaves a failed call by longjmp. So nothing between a setjmp and a call of libpng has a destructor: `guarded`
// is the only place that sets one, and what it runs are small functions over plain numbers and pointers. Sinks, which
// may throw, are called outside.
#include <png.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "image/png_decode.h"

namespace offloop::image::png {
namespace {

/// What the callbacks of libpng see. No destructors: they are longjmped over.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const std::uint8_t* next = nullptr;
  std::size_t left = 0;
  const Stop* stop = nullptr;
  ErrorCode failure = ErrorCode::kOk;
  char message[120] = {};
};

extern "C" {

[[noreturn]] static void on_error(png_structp png, png_const_charp text) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  if (session->failure == ErrorCode::kOk) session->failure = ErrorCode::kImage;
  std::strncpy(session->message, text == nullptr ? "unknown error" : text, sizeof session->message - 1);
  png_longjmp(png, 1);
}

static void on_warning(png_structp /*png*/, png_const_charp /*text*/) {}

static png_voidp on_malloc(png_structp png, png_alloc_size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) static_cast<Session*>(png_get_mem_ptr(png))->failure = ErrorCode::kOutOfMemory;
  return memory;
}

static void on_free(png_structp /*png*/, png_voidp memory) {
  std::free(memory);
}

/// Called for every few kilobytes of input, and so also within a row of any length.
static void on_read(png_structp png, png_bytep to, std::size_t bytes) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (session->stop != nullptr) {
    session->failure = session->stop->requested();
    if (session->failure != ErrorCode::kOk) png_error(png, "stopped");
  }
  if (bytes > session->left) png_error(png, "the file ends too early");
  std::memcpy(to, session->next, bytes);
  session->next += bytes;
  session->left -= bytes;
}

}  // extern "C"

/// False when a call of libpng in `body` failed. `body` must not own anything.
template <class Body>
bool guarded(Session& session, Body body) noexcept {
  if (setjmp(png_jmpbuf(session.png)) != 0) return false;
  body(session.png, session.info);
  return true;
}

void read_header(Session& session, FailOn fail_on, bool& ok) {
  ok = guarded(session, [fail_on](png_structp png, png_infop info) {
    constexpr png_uint_32 kMost = 0x7fffffff;
    png_set_user_limits(png, kMost, kMost);  // the caller judges the size
    // Nothing but palette and transparency is read besides the pixels; the rest is skipped, whatever its size.
    png_set_chunk_malloc_max(png, 0);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    if (fail_on == FailOn::kNone) {
      png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
      png_set_compression_buffer_size(png, 256);  // read at once, and lost when the file ends within
    }
    png_read_info(png, info);
    const int color = png_get_color_type(png, info);
    const int depth = png_get_bit_depth(png, info);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_valid(png, info, PNG_INFO_tRNS) != 0) png_set_tRNS_to_alpha(png);
    if (depth == 16) png_set_scale_16(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
  });
}

class Reader final : public LibpngReader {
 public:
  Reader(ByteSpan file, const Header& header, FailOn fail_on) : header_(header), fail_on_(fail_on) {
    session_.next = file.data();
    session_.left = file.size();
    session_.png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &session_, on_error, on_warning, &session_, on_malloc, on_free);
    if (session_.png != nullptr) session_.info = png_create_info_struct(session_.png);
    if (session_.info == nullptr) {
      png_destroy_read_struct(&session_.png, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(session_.png, &session_, on_read);
  }
  ~Reader() override { png_destroy_read_struct(&session_.png, &session_.info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Result<Unit> start() {
    bool ok = false;
    read_header(session_, fail_on_, ok);
    if (!ok) return failure();
    channels_ = png_get_channels(session_.png, session_.info);
    row_bytes_ = static_cast<std::size_t>(header_.width) * static_cast<std::size_t>(channels_);
    if (png_get_rowbytes(session_.png, session_.info) != row_bytes_)
      return broken_png("its parts contradict each other");
    return Unit{};
  }

  [[nodiscard]] int channels() const noexcept override { return channels_; }

  Result<Unit> decode(RowSink& sink, const Stop& stop) override {
    session_.stop = &stop;
    return header_.interlaced ? decode_interlaced(sink, stop) : decode_rows(sink, stop);
  }

 private:
  Result<Unit> decode_rows(RowSink& sink, const Stop& stop) {
    std::vector<std::uint8_t> row(row_bytes_);
    bool whole = true;
    for (std::uint32_t y = 0; y < header_.height && !sink.full(); ++y) {
      if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
      if (whole && !read_row(row.data())) {
        if (hopeless()) return failure();
        whole = false;
        std::memset(row.data(), 0, row_bytes_);
      }
      sink.row(0, row.data());
    }
    return Unit{};
  }

  Result<Unit> decode_interlaced(RowSink& sink, const Stop& stop) {
    if (row_bytes_ > std::numeric_limits<std::ptrdiff_t>::max() / header_.height) throw std::bad_alloc();
    std::vector<std::uint8_t> picture(row_bytes_ * header_.height);
    for (int pass = 0; pass < 7; ++pass) {
      for (std::uint32_t y = 0; y < header_.height; ++y) {
        if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
        if (read_row(picture.data() + row_bytes_ * y)) continue;
        if (hopeless()) return failure();
        pass = 7;
        break;
      }
    }
    for (std::uint32_t y = 0; y < header_.height && !sink.full(); ++y) sink.row(0, picture.data() + row_bytes_ * y);
    return Unit{};
  }

  bool read_row(std::uint8_t* row) noexcept {
    return guarded(session_, [row](png_structp png, png_infop) { png_read_row(png, row, nullptr); });
  }

  /// Whether nothing is to be saved.
  [[nodiscard]] bool hopeless() const noexcept {
    return fail_on_ == FailOn::kError || session_.failure != ErrorCode::kImage;
  }

  [[nodiscard]] Error failure() const {
    if (session_.failure == ErrorCode::kStopped || session_.failure == ErrorCode::kTimeout) {
      return stop_error(session_.failure);
    }
    if (session_.failure == ErrorCode::kOutOfMemory) throw std::bad_alloc();
    return broken_png(session_.message);
  }

  Session session_;
  Header header_;
  FailOn fail_on_;
  int channels_ = 0;
  std::size_t row_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<LibpngReader>> open_libpng(ByteSpan file, const Header& header, FailOn fail_on) {
  auto reader = std::make_unique<Reader>(file, header, fail_on);
  if (Result<Unit> started = reader->start(); !started) return std::move(started).error();
  return std::unique_ptr<LibpngReader>(std::move(reader));
}

}  // namespace offloop::image::png
