// Any bytes through one codec: an error or a picture, nothing else. Compiled once for each format
// (OFFLOOP_FUZZ_FORMAT); what begins otherwise is given that format's signature first, so that no run is wasted.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "offloop/image/process.h"

namespace im = offloop::image;

namespace {

constexpr std::string_view kFormat = OFFLOOP_FUZZ_FORMAT;

void give_signature(std::vector<std::uint8_t>& bytes) {
  using namespace std::string_view_literals;
  const auto put = [&bytes](std::size_t at, std::string_view text) {
    if (bytes.size() < at + text.size()) bytes.resize(at + text.size());
    std::copy(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  };
  if (kFormat == "jpeg") put(0, "\xff\xd8\xff"sv);
  if (kFormat == "png") put(0, "\x89PNG\r\n\x1a\n"sv);
  if (kFormat == "webp") {
    put(0, "RIFF"sv);
    put(8, "WEBP"sv);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  const unsigned choice = size == 0 ? 0 : data[size - 1];
  give_signature(bytes);
  im::Recipe recipe;
  recipe.engine = im::Engine::kFast;
  recipe.limits.max_pixels = 1 << 20;
  recipe.limits.max_output_pixels = 1 << 20;
  recipe.fail_on = (choice & 1) != 0 ? im::FailOn::kError : im::FailOn::kNone;
  recipe.steps = {im::AutoOrient{}};
  if ((choice & 2) != 0) recipe.steps.emplace_back(im::Resize{1 + choice, 0});
  recipe.output.format = (choice & 4) != 0   ? im::Format::kJpeg
                         : (choice & 8) != 0 ? im::Format::kPng
                                             : im::Format::kUnknown;
  recipe.output.keep_metadata = (choice & 16) != 0;
  recipe.output.keep_profile = (choice & 32) != 0;
  const offloop::Result<im::Processed> result = im::process(bytes, recipe);
  // What comes out is a picture that we read ourselves.
  if (result.ok() && !im::read_info(result.value().data).ok()) std::abort();
  if (!result.ok() && result.error().code == offloop::ErrorCode::kInternal) std::abort();
  return 0;
}
