// gzip and deflate, by zlib.
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

#include "fetch/content_decoder.h"

namespace offloop::fetch {
namespace {

constexpr int kRaw = -MAX_WBITS;
constexpr int kZlib = MAX_WBITS;
constexpr int kGzipOrZlib = MAX_WBITS + 32;  // some servers call a zlib stream gzip; the header tells

class ZlibDecoder : public ContentDecoder {
 public:
  ~ZlibDecoder() override {
    if (ready_) inflateEnd(&stream_);
  }
  ZlibDecoder(const ZlibDecoder&) = delete;
  ZlibDecoder& operator=(const ZlibDecoder&) = delete;

 protected:
  ZlibDecoder() noexcept = default;
  enum class State : std::uint8_t { kEmpty, kInside, kAtEnd };

  bool init(int window_bits) noexcept { return ready_ = inflateInit2(&stream_, window_bits) == Z_OK; }
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  /// A further stream of the same kind begins.
  void again() noexcept {
    inflateReset(&stream_);
    state = State::kEmpty;
  }

  /// Up to the end of the stream, of `in` or of `out`.
  Step inflate_some(ByteSpan in, std::span<std::uint8_t> out) noexcept {
    constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
    stream_.next_in = const_cast<Bytef*>(in.data());  // zlib's interface is older than const
    stream_.avail_in = static_cast<uInt>(std::min(in.size(), kMost));
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(std::min(out.size(), kMost));
    const uInt in_before = stream_.avail_in;
    const uInt out_before = stream_.avail_out;
    const int code = inflate(&stream_, Z_NO_FLUSH);
    Step step{in_before - stream_.avail_in, out_before - stream_.avail_out, nullptr, false};
    if (step.consumed != 0) state = State::kInside;
    switch (code) {
      case Z_OK:
      case Z_BUF_ERROR:  // nothing to do without more input or room
        break;
      case Z_STREAM_END:
        state = State::kAtEnd;
        break;
      case Z_MEM_ERROR:
        step.out_of_memory = true;
        break;
      case Z_NEED_DICT:
        step.broken = "a dictionary is needed";
        break;
      default:
        step.broken = stream_.msg != nullptr ? stream_.msg : "broken stream";
        break;
    }
    return step;
  }

  State state = State::kEmpty;

 private:
  z_stream stream_{};
  bool ready_ = false;
};

/// One or more members (RFC 1952 section 2.2), each with its own checksum. Whatever follows a member must be another.
class GzipDecoder final : public ZlibDecoder {
 public:
  static std::unique_ptr<ContentDecoder> make() noexcept {
    std::unique_ptr<GzipDecoder> decoder(new (std::nothrow) GzipDecoder);
    if (!decoder || !decoder->init(kGzipOrZlib)) return nullptr;
    return decoder;
  }

  Step decode(ByteSpan in, std::span<std::uint8_t> out) noexcept override {
    Step step;
    for (;;) {
      if (state == State::kAtEnd) {
        if (step.consumed == in.size()) return step;
        again();
      }
      const Step part = inflate_some(in.subspan(step.consumed), out.subspan(step.produced));
      step.consumed += part.consumed;
      step.produced += part.produced;
      step.broken = part.broken;
      step.out_of_memory = part.out_of_memory;
      if (state != State::kAtEnd || step.broken != nullptr || step.out_of_memory || step.produced == out.size())
        return step;
    }
  }

  [[nodiscard]] bool complete() const noexcept override { return state != State::kInside; }
  [[nodiscard]] const char* name() const noexcept override { return "gzip"; }
};

/// "deflate" is a zlib stream (RFC 9110 section 8.4.1.2), but many servers send one without zlib's header. The first
/// two bytes tell.
class DeflateDecoder final : public ZlibDecoder {
 public:
  Step decode(ByteSpan in, std::span<std::uint8_t> out) noexcept override {
    Step step;
    while (seen_ < sizeof head_ && step.consumed < in.size()) head_[seen_++] = in[step.consumed++];
    if (seen_ < sizeof head_ || out.empty()) return step;
    if (!ready() && !init(is_zlib_header() ? kZlib : kRaw)) {
      step.out_of_memory = true;
      return step;
    }
    if (fed_ < sizeof head_) {
      const Step part = inflate_some(ByteSpan(head_).subspan(fed_), out);
      fed_ += part.consumed;
      step.produced = part.produced;
      step.broken = part.broken;
      step.out_of_memory = part.out_of_memory;
      if (step.broken != nullptr || step.out_of_memory || step.produced == out.size()) return step;
    }
    if (state == State::kAtEnd) {
      if (fed_ < sizeof head_ || step.consumed < in.size()) step.broken = "bytes after its end";
      return step;
    }
    const Step part = inflate_some(in.subspan(step.consumed), out.subspan(step.produced));
    step.consumed += part.consumed;
    step.produced += part.produced;
    step.broken = part.broken;
    step.out_of_memory = part.out_of_memory;
    if (step.broken == nullptr && state == State::kAtEnd && step.consumed < in.size())
      step.broken = "bytes after its end";
    return step;
  }

  [[nodiscard]] bool complete() const noexcept override { return seen_ == 0 || state == State::kAtEnd; }
  [[nodiscard]] const char* name() const noexcept override { return "deflate"; }

 private:
  [[nodiscard]] bool is_zlib_header() const noexcept {
    return (head_[0] & 0x0f) == Z_DEFLATED && (head_[0] * 256 + head_[1]) % 31 == 0;
  }

  std::uint8_t head_[2] = {};
  std::size_t seen_ = 0;  // of head_
  std::size_t fed_ = 0;
};

}  // namespace

std::unique_ptr<ContentDecoder> make_gzip_decoder() noexcept {
  return GzipDecoder::make();
}

std::unique_ptr<ContentDecoder> make_deflate_decoder() noexcept {
  return std::unique_ptr<ContentDecoder>(new (std::nothrow) DeflateDecoder);
}

}  // namespace offloop::fetch
