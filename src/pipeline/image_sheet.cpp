#include "offloop/pipeline/image_sheet.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "image/decoder.h"
#include "image/encoder.h"
#include "pipeline/image_files.h"

namespace offloop::pipeline {
namespace {

using image::Color;
using image::Pixels;
using image::Plane;

struct Page {
  std::uint32_t columns = 1;
  std::uint64_t width = 0;
  std::uint64_t height = 0;
};

Result<Page> lay_out(const SheetRequest& request) {
  const std::uint64_t count = request.paths.size();
  if (count == 0) return Error(ErrorCode::kInvalidArgument, "expected at least one picture, got none");
  if (request.cell == 0) return Error(ErrorCode::kInvalidArgument, "cell must be greater than 0, got 0");
  Page page;
  page.columns = request.columns != 0 ? request.columns
                                      : static_cast<std::uint32_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const std::uint64_t rows = (count + page.columns - 1) / page.columns;
  const std::uint64_t step = std::uint64_t{request.cell} + request.gap;
  page.width = page.columns * step + request.gap;
  page.height = rows * step + request.gap;
  const std::uint64_t most = request.limits.max_output_pixels;
  if (page.width > most || page.height > most / page.width) {
    return Error(ErrorCode::kImageLimit, "the sheet would have " + std::to_string(page.width) + "x" +
                                             std::to_string(page.height) + " pixels, max_output_pixels allows " +
                                             std::to_string(most));
  }
  return page;
}

Pixels blank(const Page& page, Color color) {
  Pixels pixels;
  pixels.model = image::Model::kRgb;
  pixels.width = static_cast<int>(page.width);
  pixels.height = static_cast<int>(page.height);
  Plane plane(pixels.width, pixels.height, 3);
  for (int y = 0; y < pixels.height; ++y) {
    std::uint8_t* row = plane.bytes.data() + static_cast<std::size_t>(y) * plane.stride;
    for (int x = 0; x < pixels.width; ++x, row += 3) {
      row[0] = color.red;
      row[1] = color.green;
      row[2] = color.blue;
    }
  }
  pixels.planes.push_back(std::move(plane));
  return pixels;
}

/// Rows of a cell, grey or RGB, onto the page.
class Paste final : public image::RowSink {
 public:
  Paste(Plane& page, std::size_t left, std::size_t top, std::size_t width, std::size_t height, bool grey) noexcept
      : page_(page), left_(left), next_(top), width_(width), rest_(height), grey_(grey) {}
  void row(int, const std::uint8_t* samples) override {
    if (rest_ == 0) return;
    std::uint8_t* to = page_.bytes.data() + next_ * page_.stride + left_ * 3;
    if (grey_) {
      for (std::size_t x = 0; x < width_; ++x) std::memset(to + 3 * x, samples[x], 3);
    } else {
      std::memcpy(to, samples, width_ * 3);
    }
    ++next_;
    --rest_;
  }
  [[nodiscard]] bool full() const noexcept override { return rest_ == 0; }

 private:
  Plane& page_;
  const std::size_t left_;
  std::size_t next_;
  const std::size_t width_;
  std::size_t rest_;
  const bool grey_;
};

/// Makes a picture the size of a cell: whatever the recipe does for a thumbnail, by the way that all pictures go.
image::Recipe cell_recipe(const SheetRequest& request) {
  image::Recipe recipe;
  recipe.limits = request.limits;
  image::Resize resize;
  resize.width = resize.height = request.cell;
  resize.fit = image::Fit::kContain;
  resize.without_enlargement = true;
  recipe.steps = {image::AutoOrient{}, resize};
  recipe.output.format = image::Format::kPng;
  recipe.output.compression = 0;  // read again at once
  recipe.output.flatten = true;
  recipe.output.background = request.background;
  return recipe;
}

Result<Unit> paste(const std::string& path, const image::Recipe& recipe, Plane& page, std::size_t left, std::size_t top,
                   std::uint32_t cell) {
  Result<fetch::OwnedBytes> file = read_picture_file(path, recipe.limits.max_bytes);
  if (!file.ok()) return std::move(file).error();
  Result<image::Processed> made = image::process(file.value().span(), recipe);
  if (!made.ok()) return std::move(made).error();
  const std::vector<std::uint8_t>& png = made.value().data;
  Result<std::unique_ptr<image::Decoder>> opened = image::open_png({png.data(), png.size()}, recipe.limits);
  if (!opened.ok()) return std::move(opened).error();
  Result<image::Shape> shape = opened.value()->prepare({});
  if (!shape.ok()) return std::move(shape).error();
  const int channels = image::channels_of(shape.value().model);
  const image::ImageInfo& info = opened.value()->info();
  if ((channels != 1 && channels != 3) || info.width > cell || info.height > cell)
    return Error(ErrorCode::kInternal, "a cell of the sheet is not what was asked for");
  Paste sink(page, left + (cell - info.width) / 2, top + (cell - info.height) / 2, info.width, info.height,
             channels == 1);
  return opened.value()->decode(sink, {});
}

Result<Picture> sheet_of(const SheetRequest& request, const StopToken& stop) {
  Result<Page> laid = lay_out(request);
  if (!laid.ok()) return std::move(laid).error();
  const Page page = laid.value();
  Pixels pixels = blank(page, request.background);
  const image::Recipe recipe = cell_recipe(request);
  const std::size_t step = std::size_t{request.cell} + request.gap;
  for (std::size_t i = 0; i < request.paths.size(); ++i) {
    if (stop.stop_requested()) return image::stop_error(ErrorCode::kStopped);
    Result<Unit> pasted = paste(request.paths[i], recipe, pixels.planes[0], request.gap + i % page.columns * step,
                                request.gap + i / page.columns * step, request.cell);
    if (pasted.ok()) continue;
    Error error = std::move(pasted).error();
    if (error.context.empty()) error.context = request.paths[i];
    return error;
  }
  Result<image::Bytes> bytes = image::encode_png(pixels, {}, {}, {});
  if (!bytes.ok()) return std::move(bytes).error();

  Picture picture;
  picture.image.format = image::Format::kPng;
  picture.image.width = static_cast<std::uint32_t>(page.width);
  picture.image.height = static_cast<std::uint32_t>(page.height);
  picture.image.data = std::move(bytes).value();
  picture.size = picture.image.data.size();
  if (!request.save_to.empty()) {
    Result<Unit> written = write_picture_file(request.save_to, {picture.image.data.data(), picture.image.data.size()});
    if (!written.ok()) return std::move(written).error();
    picture.image.data = {};
  }
  return picture;
}

}  // namespace

Operation<Picture> make_sheet(SheetRequest request) {
  return spawn([request = std::move(request)](StopToken stop) { return sheet_of(request, stop); });
}

}  // namespace offloop::pipeline
