// zstd, by libzstd.
#include <zstd.h>
#include <zstd_errors.h>

#include <new>

#include "fetch/content_decoder.h"

namespace offloop::fetch {
namespace {

// RFC 9659: what a client must take as "Content-Encoding: zstd", and all that it needs to: 8 MiB.
constexpr int kWindowLog = 23;

struct DestroyContext {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

/// One or more frames (RFC 8878 section 3.1). Whatever follows a frame must be another.
class ZstdDecoder final : public ContentDecoder {
 public:
  static std::unique_ptr<ContentDecoder> make() noexcept {
    std::unique_ptr<ZstdDecoder> decoder(new (std::nothrow) ZstdDecoder);
    if (!decoder) return nullptr;
    decoder->context_.reset(ZSTD_createDCtx());
    if (!decoder->context_) return nullptr;
    ZSTD_DCtx_setParameter(decoder->context_.get(), ZSTD_d_windowLogMax, kWindowLog);
    return decoder;
  }

  Step decode(ByteSpan in, std::span<std::uint8_t> out) noexcept override {
    Step step;
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    // It stops at the end of each frame. Without input it is only asked for what did not fit before: it counts calls
    // that come to nothing, and takes a few of them for a mistake.
    while (to.pos < to.size && (from.pos < from.size || more_)) {
      const std::size_t left = ZSTD_decompressStream(context_.get(), &to, &from);
      if (ZSTD_isError(left) != 0) {
        step.out_of_memory = ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation;
        step.broken = step.out_of_memory ? nullptr : ZSTD_getErrorName(left);
        break;
      }
      complete_ = left == 0;
      more_ = !complete_ && to.pos == to.size;
    }
    step.consumed = from.pos;
    step.produced = to.pos;
    return step;
  }

  [[nodiscard]] bool complete() const noexcept override { return complete_; }
  [[nodiscard]] const char* name() const noexcept override { return "zstd"; }

 private:
  ZstdDecoder() noexcept = default;
  std::unique_ptr<ZSTD_DCtx, DestroyContext> context_;
  bool complete_ = true;
  bool more_ = false;  // the last call filled its output
};

}  // namespace

std::unique_ptr<ContentDecoder> make_zstd_decoder() noexcept {
  return ZstdDecoder::make();
}

}  // namespace offloop::fetch
