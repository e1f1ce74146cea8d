#include "offloop/image/process.h"

#include <new>
#include <string>

#include "image/engine.h"
#include "image/fast.h"
#include "image/isolate.h"
#include "image/vips.h"

namespace offloop::image {
namespace {

Error unsupported() {
  return {ErrorCode::kUnsupportedFormat,
          "expected a picture (JPEG, PNG, WebP; GIF, TIFF, AVIF, HEIC with libvips), got bytes "
          "that begin like none of them"};
}

Result<Unit> check_size(ByteSpan data, const Limits& limits) {
  if (data.size() <= limits.max_bytes) return Unit{};
  return Error(ErrorCode::kImageLimit, "the input has " + std::to_string(data.size()) + " bytes, max_bytes allows " +
                                           std::to_string(limits.max_bytes));
}

Result<ImageInfo> info_of(ByteSpan data, const Limits& limits) {
  if (Result<Unit> size = check_size(data, limits); !size.ok()) return std::move(size).error();
  const Format format = detect_format(data);
  if (format == Format::kUnknown) return unsupported();
  if (!is_fast_format(format)) return vips_info(data, limits);
  Result<std::unique_ptr<Decoder>> opened = open_fast(data, limits);
  if (!opened.ok()) return std::move(opened).error();
  return opened.value()->info();
}

Result<Processed> processed(ByteSpan data, const Recipe& recipe, const Stop& stop) {
  if (Result<Unit> valid = check_recipe(recipe); !valid.ok()) return std::move(valid).error();
  if (Result<Unit> size = check_size(data, recipe.limits); !size.ok()) return std::move(size).error();
  if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
  const Format format = detect_format(data);
  if (format == Format::kUnknown) return unsupported();
  if (recipe.isolate) return isolated_process(data, recipe, stop);
  if (engine_for(recipe, format, 1) == Engine::kVips) return vips_process(data, recipe, stop);
  Result<std::unique_ptr<Decoder>> opened = open_fast(data, recipe.limits);
  if (!opened.ok()) return std::move(opened).error();
  Decoder& decoder = *opened.value();
  if (engine_for(recipe, format, decoder.info().frames) == Engine::kVips) return vips_process(data, recipe, stop);
  return fast_process(decoder, recipe, stop);
}

/// Nothing may be thrown beyond here: workers know no exceptions.
template <class T, class F>
Result<T> caught(F function) noexcept {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory for a picture");
  } catch (const std::exception& e) {
    return Error(ErrorCode::kInternal, e.what());
  }
}

}  // namespace

Result<ImageInfo> read_info(ByteSpan data, const Limits& limits) {
  return caught<ImageInfo>([&] { return info_of(data, limits); });
}

Result<Processed> process(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept {
  return caught<Processed>([&] { return processed(data, recipe, stop); });
}

const char* color_space_name(ColorSpace space) noexcept {
  switch (space) {
    case ColorSpace::kGrey:
      return "grey";
    case ColorSpace::kCmyk:
      return "cmyk";
    default:
      return "srgb";
  }
}

}  // namespace offloop::image
