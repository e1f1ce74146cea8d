#include "image/engine.h"

#include <cstdlib>
#include <string_view>

namespace offloop::image {

Format output_format(const Output& output, Format input, bool alpha) noexcept {
  if (output.format != Format::kUnknown) return output.format;
  if (is_fast_format(input) || input == Format::kGif) return input;
  return alpha ? Format::kPng : Format::kJpeg;
}

Engine engine_for(const Recipe& recipe, Format input, std::uint32_t frames) noexcept {
  if (recipe.engine != Engine::kAuto) return recipe.engine;
  const char* wanted = std::getenv("OFFLOOP_IMAGE");
  if (wanted != nullptr && wanted == std::string_view("fast")) return Engine::kFast;
  if (wanted != nullptr && wanted == std::string_view("vips")) return Engine::kVips;
  const bool animation = recipe.all_frames && frames > 1;
  const bool ours = is_fast_format(input) && is_fast_format(output_format(recipe.output, input, false)) && !animation;
  return ours ? Engine::kFast : Engine::kVips;
}

}  // namespace offloop::image
