// The module's entry, and a picture's way through it.
#include <string>
#include <utility>

#include "image/budget.h"
#include "image/engine.h"
#include "image/geometry.h"
#include "image/vips/load.h"
#include "image/vips/module.h"
#include "image/vips/save.h"
#include "image/vips/session.h"
#include "image/vips/steps.h"

namespace offloop::image::vips {
namespace {

/// What has been settled by the header.
struct Course {
  ImageInfo input;
  Format format = Format::kUnknown;
  bool animated = false;
  Plan plan;
};

Result<Course> settle(VipsImage* image, Format format, const Recipe& recipe) {
  Course course;
  course.input = info_of(image, format);
  const ImageInfo& input = course.input;
  if (Result<Unit> fits = check_pixels(input, recipe.limits); !fits) return std::move(fits).error();
  course.format = output_format(recipe.output, format, input.has_alpha);
  course.animated =
      recipe.all_frames && input.frames > 1 && (course.format == Format::kGif || course.format == Format::kWebp);
  if (course.animated) {
    if (Result<Unit> fits = check_frames(input, recipe.limits); !fits) return std::move(fits).error();
  }
  Result<Plan> plan =
      make_plan({static_cast<int>(input.width), static_cast<int>(input.height)}, input.orientation, recipe);
  if (!plan) return std::move(plan).error();
  course.plan = std::move(plan).value();
  const Size result = course.plan.result();
  const std::uint64_t frames = course.animated ? input.frames : 1;
  if (static_cast<std::uint64_t>(result.width) * static_cast<std::uint64_t>(result.height) >
      recipe.limits.max_output_pixels / frames) {
    return Error(ErrorCode::kImageLimit, "the result would have " + std::to_string(frames) + " frames of " +
                                             std::to_string(result.width) + "x" + std::to_string(result.height) +
                                             " pixels, max_output_pixels allows " +
                                             std::to_string(recipe.limits.max_output_pixels));
  }
  return course;
}

bool flattens(const Recipe& recipe, Format format) noexcept {
  return recipe.output.flatten || format == Format::kJpeg;
}

/// One frame, from the working colours to those of the result.
Result<Image> make_frame(Session& session, Image image, const Recipe& recipe, const Course& course) {
  Result<Image> made = run_plan(session, std::move(image), course.plan, recipe.output.background);
  if (!made) return made;
  return finish_colors(session, std::move(made).value(), flattens(recipe, course.format), course.plan.grey,
                       recipe.output.background);
}

/// Each frame of the roll by itself, so that none shines into its neighbour; then a roll again.
Result<Image> make_animation(Session& session, Image roll, const Recipe& recipe, const Course& course) {
  std::vector<Image> frames;
  std::vector<VipsImage*> plain;
  const auto width = static_cast<int>(course.input.width);
  const auto height = static_cast<int>(course.input.height);
  for (int i = 0; i < static_cast<int>(course.input.frames); ++i) {
    VipsImage* frame = nullptr;
    if (vips_extract_area(roll.get(), &frame, 0, i * height, width, height, nullptr) != 0) {
      return session.failure(ErrorCode::kImage, "the animation is broken");
    }
    Result<Image> made = make_frame(session, Image(frame), recipe, course);
    if (!made) return made;
    frames.push_back(std::move(made).value());
    plain.push_back(frames.back().get());
  }
  VipsImage* joined = nullptr;
  if (vips_arrayjoin(plain.data(), &joined, static_cast<int>(plain.size()), "across", 1, nullptr) != 0) {
    return session.failure(ErrorCode::kImage, "the animation is broken");
  }
  return Image(joined);
}

Result<Image> make_result(Session& session, Image first, ByteSpan data, const Recipe& recipe, const Course& course) {
  if (course.animated) {
    Result<Image> all = load_all(session, data, course.input.format, recipe.fail_on);
    if (!all) return all;
    first = std::move(all).value();
  }
  Result<Image> working = to_working_colors(session, std::move(first), recipe.output.keep_profile);
  if (!working) return working;
  return course.animated ? make_animation(session, std::move(working).value(), recipe, course)
                         : make_frame(session, std::move(working).value(), recipe, course);
}

Result<Processed> process(ByteSpan data, const Recipe& recipe, const Stop& stop) {
  Session session(stop);
  if (const ErrorCode code = session.requested(); code != ErrorCode::kOk) return stop_error(code);
  const Format format = detect_format(data);
  Result<Image> first = load_first(session, data, format, recipe.fail_on);
  if (!first) return std::move(first).error();
  Result<Course> settled = settle(first.value().get(), format, recipe);
  if (!settled) return std::move(settled).error();
  const Course& course = settled.value();
  const std::uint64_t frames = course.animated ? course.input.frames : 1;
  const PixelShare share(std::uint64_t{course.input.width} * course.input.height * frames, stop);
  if (share.outcome() != ErrorCode::kOk) return stop_error(share.outcome());

  Result<Image> made = make_result(session, std::move(first).value(), data, recipe, course);
  if (!made) return std::move(made).error();
  const Size size = course.plan.result();
  Kept kept{recipe.output.keep_metadata, recipe.output.keep_profile, course.plan.oriented, static_cast<int>(frames),
            size.height};
  Result<Image> dressed = with_metadata(session, made.value(), kept);
  if (!dressed) return std::move(dressed).error();
  Result<std::vector<std::uint8_t>> saved = save(session, dressed.value(), course.format, recipe.output, kept);
  if (!saved) return std::move(saved).error();

  Processed done;
  done.data = std::move(saved).value();
  done.format = course.format;
  done.width = static_cast<std::uint32_t>(size.width);
  done.height = static_cast<std::uint32_t>(size.height);
  done.frames = static_cast<std::uint32_t>(frames);
  done.input = course.input;
  return done;
}

Result<ImageInfo> read_header(ByteSpan data, const Limits& limits) {
  const Stop never;
  Session session(never);
  if (const ErrorCode code = session.requested(); code != ErrorCode::kOk) return stop_error(code);
  const Format format = detect_format(data);
  Result<Image> image = load_first(session, data, format, FailOn::kError);
  if (!image) return std::move(image).error();
  const ImageInfo info = info_of(image.value().get(), format);
  if (Result<Unit> fits = check_pixels(info, limits); !fits) return std::move(fits).error();
  return info;
}

Result<Unit> start() {
  if (start_libvips()) return Unit{};
  return Error(ErrorCode::kUnsupportedFormat, "libvips does not start");
}

constexpr VipsModule kModule{VipsModule::kVersion, sizeof(Recipe), sizeof(Processed), start, process, read_header};

}  // namespace
}  // namespace offloop::image::vips

extern "C" [[gnu::visibility("default")]] const offloop::image::VipsModule* offloop_vips_module();
const offloop::image::VipsModule* offloop_vips_module() {
  return &offloop::image::vips::kModule;
}
