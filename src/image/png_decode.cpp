#include "image/png_decode.h"

#include <string>

#include "image/exif.h"

namespace offloop::image {
namespace png {
namespace {

Model model_of(int channels) noexcept {
  constexpr Model kModels[] = {Model::kGrey, Model::kGreyAlpha, Model::kRgb, Model::kRgba};
  return kModels[channels - 1];
}

class PngDecoder final : public Decoder {
 public:
  PngDecoder(ByteSpan file, const Header& header, Metadata metadata) : file_(file), header_(header) {
    metadata_ = std::move(metadata);
    info_.format = Format::kPng;
    info_.width = header.width;
    info_.height = header.height;
    info_.bits = header.depth;
    info_.progressive = header.interlaced;
    info_.has_profile = !metadata_.icc.empty();
    info_.orientation = exif_orientation(metadata_.exif);
    const int opaque = header.color == kPalette ? 3 : stored_channels(header.color);
    set_channels(opaque + (header.transparency ? 1 : 0));
  }

  Result<Shape> prepare(const DecodeRequest& request) override {
    fail_on_ = request.fail_on;
    if (!is_plain(header_)) {
      auto reader = open_libpng(file_, header_, fail_on_);
      if (!reader) return std::move(reader).error();
      reader_ = std::move(reader).value();
      set_channels(reader_->channels());  // a transparency that makes no sense has been dropped
    }
    PlaneShape plane;
    plane.width = static_cast<int>(header_.width);
    plane.height = static_cast<int>(header_.height);
    plane.channels = info_.channels;
    return Shape{model_of(info_.channels), {plane}};
  }

  Result<Unit> decode(RowSink& sink, const Stop& stop) override {
    return reader_ != nullptr ? reader_->decode(sink, stop) : decode_plain(file_, header_, fail_on_, sink, stop);
  }

 private:
  void set_channels(int channels) noexcept {
    info_.channels = static_cast<std::uint8_t>(channels);
    info_.has_alpha = channels == 2 || channels == 4;
    info_.color_space = channels <= 2 ? ColorSpace::kGrey : ColorSpace::kSrgb;
  }

  ByteSpan file_;
  Header header_;
  FailOn fail_on_ = FailOn::kError;
  std::unique_ptr<LibpngReader> reader_;
};

}  // namespace

Error broken_png(const char* what) {
  return {ErrorCode::kImage, std::string("broken PNG: ") + what};
}

}  // namespace png

Result<std::unique_ptr<Decoder>> open_png(ByteSpan data, const Limits& /*limits*/) {
  Metadata metadata;
  Result<png::Header> header = png::read_chunks(data, metadata);
  if (!header) return std::move(header).error();
  return std::unique_ptr<Decoder>(std::make_unique<png::PngDecoder>(data, header.value(), std::move(metadata)));
}

}  // namespace offloop::image
