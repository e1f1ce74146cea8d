// br, by libbrotlidec.
#include <brotli/decode.h>

#include <new>

#include "fetch/content_decoder.h"

namespace offloop::fetch {
namespace {

struct Destroy {
  void operator()(BrotliDecoderState* state) const noexcept { BrotliDecoderDestroyInstance(state); }
};

class BrotliDecoder final : public ContentDecoder {
 public:
  static std::unique_ptr<ContentDecoder> make() noexcept {
    std::unique_ptr<BrotliDecoder> decoder(new (std::nothrow) BrotliDecoder);
    if (!decoder) return nullptr;
    decoder->state_.reset(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr));
    if (!decoder->state_) return nullptr;
    return decoder;
  }

  Step decode(ByteSpan in, std::span<std::uint8_t> out) noexcept override {
    Step step;
    if (ended_) {
      if (!in.empty()) step.broken = "bytes after its end";
      return step;
    }
    begun_ = begun_ || !in.empty();
    std::size_t in_left = in.size();
    std::size_t out_left = out.size();
    const std::uint8_t* next_in = in.data();
    std::uint8_t* next_out = out.data();
    const BrotliDecoderResult result =
        BrotliDecoderDecompressStream(state_.get(), &in_left, &next_in, &out_left, &next_out, nullptr);
    step.consumed = in.size() - in_left;
    step.produced = out.size() - out_left;
    if (result == BROTLI_DECODER_RESULT_SUCCESS) {
      ended_ = true;
      if (in_left != 0) step.broken = "bytes after its end";
    } else if (result == BROTLI_DECODER_RESULT_ERROR) {
      const BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(state_.get());
      step.out_of_memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= kLastAllocationError;
      step.broken = step.out_of_memory ? nullptr : BrotliDecoderErrorString(code);
    }
    return step;
  }

  [[nodiscard]] bool complete() const noexcept override { return ended_ || !begun_; }
  [[nodiscard]] const char* name() const noexcept override { return "br"; }

 private:
  static constexpr int kLastAllocationError = BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;

  BrotliDecoder() noexcept = default;
  std::unique_ptr<BrotliDecoderState, Destroy> state_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<ContentDecoder> make_brotli_decoder() noexcept {
  return BrotliDecoder::make();
}

}  // namespace offloop::fetch
