#include "image/fast.h"

#include <algorithm>
#include <string>
#include <utility>

#include "image/budget.h"
#include "image/colors.h"
#include "image/encoder.h"
#include "image/engine.h"
#include "image/exif.h"
#include "image/planes.h"

namespace offloop::image {
namespace {

/// What has been settled about a picture before its pixels are looked at.
struct Course {
  Plan plan;
  Format format = Format::kUnknown;
  bool convert_profile = false;
  DecodeRequest request;
  int chroma = 2;  ///< pixels for one chroma sample of the result
};

/// Planes save the way to RGB and back. They cannot be laid on a canvas, nor go through a profile or a second stage.
bool may_stay_ycc(const Recipe& recipe, const Course& course) noexcept {
  const bool wants_planes = course.format == Format::kJpeg ||
                            (course.format == Format::kWebp && !recipe.output.lossless && !course.plan.grey);
  return wants_planes && !course.convert_profile && course.plan.stages.size() == 1 && !course.plan.stages[0].padded;
}

Result<Course> settle(const Decoder& decoder, const Recipe& recipe) {
  const ImageInfo& info = decoder.info();
  Result<Plan> plan =
      make_plan({static_cast<int>(info.width), static_cast<int>(info.height)}, info.orientation, recipe);
  if (!plan.ok()) return std::move(plan).error();
  Course course;
  course.plan = std::move(plan).value();
  course.format = output_format(recipe.output, info.format, info.has_alpha);
  if (!is_fast_format(course.format)) {
    return Error(ErrorCode::kUnsupportedFormat,
                 std::string("the fast path writes jpeg, png and webp, not ") + format_name(course.format));
  }
  const std::vector<std::uint8_t>& icc = decoder.metadata().icc;
  course.convert_profile = !recipe.output.keep_profile && !icc.empty() && !is_srgb_profile(icc);
  const Stage& stage = course.plan.stages[0];
  course.request.limits = recipe.limits;
  course.request.fail_on = recipe.fail_on;
  course.request.shrink = stage.kernel == Kernel::kNearest ? 1 : std::min(stage.x.scale, stage.y.scale);
  course.request.want_ycc = may_stay_ycc(recipe, course);
  if (course.format == Format::kJpeg && recipe.output.subsampling == Subsampling::k444) course.chroma = 1;
  return course;
}

Result<Pixels> make_pixels(Decoder& decoder, const Recipe& recipe, const Course& course, const Stop& stop) {
  Result<Shape> prepared = decoder.prepare(course.request);
  if (!prepared.ok()) return std::move(prepared).error();
  const Color background = recipe.output.background;
  const Stage& first = course.plan.stages[0];
  StageSink sink(first, prepared.value(), course.chroma);
  Result<Unit> decoded = decoder.decode(sink, stop);
  if (!decoded.ok()) return std::move(decoded).error();
  Pixels pixels = finish_stage(sink.take(), first, background);
  for (std::size_t i = 1; i < course.plan.stages.size(); ++i) {
    Result<Pixels> next = run_stage(pixels, course.plan.stages[i], background, stop);
    if (!next.ok()) return next;
    pixels = std::move(next).value();
  }
  return pixels;
}

/// Colours as the result wants them.
Pixels finish_colors(Pixels pixels, const Decoder& decoder, const Recipe& recipe, const Course& course) {
  if (course.convert_profile) pixels = to_srgb(std::move(pixels), decoder.metadata().icc);
  if (has_alpha(pixels.model) && (recipe.output.flatten || course.format == Format::kJpeg))
    pixels = flattened(std::move(pixels), recipe.output.background);
  if (course.plan.grey) pixels = to_grey(pixels);
  return pixels;
}

Metadata kept_metadata(const Decoder& decoder, const Recipe& recipe, const Course& course) {
  Metadata kept;
  if (recipe.output.keep_profile) kept.icc = decoder.metadata().icc;
  if (recipe.output.keep_metadata) {
    kept.exif = decoder.metadata().exif;
    kept.xmp = decoder.metadata().xmp;
    if (course.plan.oriented) reset_exif_orientation(kept.exif);
  }
  return kept;
}

Result<Bytes> encode(const Pixels& pixels, const Recipe& recipe, const Course& course, const Metadata& metadata,
                     const Stop& stop) {
  switch (course.format) {
    case Format::kJpeg:
      return encode_jpeg(pixels, recipe.output, metadata, stop);
    case Format::kPng:
      return encode_png(pixels, recipe.output, metadata, stop);
    default:
      return encode_webp(pixels, recipe.output, metadata, stop);
  }
}

}  // namespace

Result<std::unique_ptr<Decoder>> open_fast(ByteSpan data, const Limits& limits) {
  Result<std::unique_ptr<Decoder>> opened = [&]() -> Result<std::unique_ptr<Decoder>> {
    switch (detect_format(data)) {
      case Format::kJpeg:
        return open_jpeg(data, limits);
      case Format::kPng:
        return open_png(data, limits);
      case Format::kWebp:
        return open_webp(data, limits);
      default:
        return Error(ErrorCode::kUnsupportedFormat,
                     std::string("the fast path reads jpeg, png and webp, got ") + format_name(detect_format(data)));
    }
  }();
  if (!opened.ok()) return opened;
  const ImageInfo& info = opened.value()->info();
  if (std::uint64_t{info.width} * info.height > limits.max_pixels) {
    return Error(ErrorCode::kImageLimit, "the picture has " + std::to_string(info.width) + "x" +
                                             std::to_string(info.height) + " pixels, max_pixels allows " +
                                             std::to_string(limits.max_pixels));
  }
  return opened;
}

Result<Processed> fast_process(Decoder& decoder, const Recipe& recipe, const Stop& stop) {
  Result<Course> settled = settle(decoder, recipe);
  if (!settled.ok()) return std::move(settled).error();
  const Course& course = settled.value();
  const ImageInfo& info = decoder.info();
  const PixelShare share(std::uint64_t{info.width} * info.height, stop);
  if (share.outcome() != ErrorCode::kOk) return stop_error(share.outcome());

  Result<Pixels> made = make_pixels(decoder, recipe, course, stop);
  if (!made.ok()) return std::move(made).error();
  const Pixels pixels = finish_colors(std::move(made).value(), decoder, recipe, course);
  Result<Bytes> bytes = encode(pixels, recipe, course, kept_metadata(decoder, recipe, course), stop);
  if (!bytes.ok()) return std::move(bytes).error();

  Processed done;
  done.data = std::move(bytes).value();
  done.format = course.format;
  done.width = static_cast<std::uint32_t>(pixels.width);
  done.height = static_cast<std::uint32_t>(pixels.height);
  done.input = info;
  return done;
}

}  // namespace offloop::image
