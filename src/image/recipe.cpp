#include "offloop/image/recipe.h"

#include <string>

namespace offloop::image {
namespace {

constexpr std::uint32_t kMostSide = 1'000'000;  // far above what any format can hold; keeps products within 64 bits

Error range(const char* name, const char* expected, std::uint64_t got) {
  return {ErrorCode::kInvalidArgument, std::string(name) + " must be " + expected + ", got " + std::to_string(got)};
}

Result<Unit> check_step(const Rotate& rotate) {
  if (rotate.degrees == 0 || rotate.degrees == 90 || rotate.degrees == 180 || rotate.degrees == 270) return Unit{};
  return range("degrees", "0, 90, 180 or 270", rotate.degrees);
}
Result<Unit> check_step(const Crop& crop) {
  if (crop.width == 0 || crop.width > kMostSide) return range("width", "between 1 and 1000000", crop.width);
  if (crop.height == 0 || crop.height > kMostSide) return range("height", "between 1 and 1000000", crop.height);
  return Unit{};
}
Result<Unit> check_step(const Resize& resize) {
  if (resize.width == 0 && resize.height == 0)
    return Error(ErrorCode::kInvalidArgument, "expected a width, a height or both, got neither");
  if (resize.width > kMostSide) return range("width", "at most 1000000", resize.width);
  if (resize.height > kMostSide) return range("height", "at most 1000000", resize.height);
  return Unit{};
}
template <class Other>
Result<Unit> check_step(const Other&) {
  return Unit{};
}

}  // namespace

Result<Unit> check_recipe(const Recipe& recipe) {
  for (const Step& step : recipe.steps) {
    Result<Unit> checked = std::visit([](const auto& s) { return check_step(s); }, step);
    if (!checked.ok()) return checked;
  }
  const Output& output = recipe.output;
  if (output.quality < 1 || output.quality > 100) return range("quality", "between 1 and 100", output.quality);
  if (output.compression > 9) return range("compression", "between 0 and 9", output.compression);
  if (output.effort > 6) return range("effort", "between 0 and 6", output.effort);
  if (recipe.limits.max_pixels == 0) return range("max_pixels", "greater than 0", 0);
  if (recipe.limits.max_bytes == 0) return range("max_bytes", "greater than 0", 0);
  if (recipe.limits.max_frames == 0) return range("max_frames", "greater than 0", 0);
  if (recipe.limits.max_scans == 0) return range("max_scans", "greater than 0", 0);
  if (recipe.limits.max_output_pixels == 0) return range("max_output_pixels", "greater than 0", 0);
  return Unit{};
}

}  // namespace offloop::image
