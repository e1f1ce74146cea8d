#include "image/isolate.h"

#include <new>
#include <string>

#include "image/decoder.h"
#include "image/isolate/decoder_set.h"
#include "image/isolate/verify.h"

namespace offloop::image {
namespace {

/// What can be said without a decoder.
Result<Unit> check(ByteSpan data, const Recipe& recipe) {
  const Format in = detect_format(data);
  const Format out = recipe.output.format;
  if (!isolate::has_decoder(in) || (out != Format::kUnknown && !isolate::has_decoder(out)))
    return Error(ErrorCode::kUnsupportedFormat, std::string("isolate=True reads and writes jpeg, png and webp, got ") +
                                                    format_name(isolate::has_decoder(in) ? out : in));
  if (recipe.engine == Engine::kVips)
    return Error(ErrorCode::kUnsupportedFormat, "isolate=True has decoders of its own: it cannot use libvips");
  if (data.size() > recipe.limits.max_bytes)
    return Error(ErrorCode::kImageLimit, "expected at most " + std::to_string(recipe.limits.max_bytes) +
                                             " bytes (max_bytes), got " + std::to_string(data.size()));
  if (recipe.steps.size() > isolate::kMaxSteps)
    return Error(ErrorCode::kInvalidArgument, "expected at most " + std::to_string(isolate::kMaxSteps) +
                                                  " steps, got " + std::to_string(recipe.steps.size()));
  return Unit{};
}

/// Ours decode the first frame of an animation. That is what a result of one frame can hold, but not what was asked for
/// otherwise.
Result<Processed> unless_frames_are_lost(Result<Processed> result, const Recipe& recipe) {
  if (!result.ok() || !recipe.all_frames || result.value().format != Format::kWebp) return result;
  if (result.value().input.frames <= result.value().frames) return result;
  return Error(ErrorCode::kUnsupportedFormat,
               "isolate=True decodes the first frame of an animation only, this one has " +
                   std::to_string(result.value().input.frames));
}

}  // namespace

Result<Processed> isolated_process(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept {
  try {
    if (Result<Unit> checked = check(data, recipe); !checked.ok()) return std::move(checked).error();
    if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
    isolate::DecoderSet* set = isolate::DecoderSet::shared();
    if (set == nullptr) return Error(ErrorCode::kOutOfMemory, "no memory for an isolated decoder");
    return unless_frames_are_lost(set->process(data, recipe, stop), recipe);
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "no memory for an isolated picture");
  }
}

}  // namespace offloop::image
