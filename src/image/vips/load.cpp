#include "image/vips/load.h"

#include <string>

namespace offloop::image::vips {
namespace {

const char* loader_of(Format format) noexcept {
  switch (format) {
    case Format::kJpeg:
      return "jpegload_buffer";
    case Format::kPng:
      return "pngload_buffer";
    case Format::kWebp:
      return "webpload_buffer";
    case Format::kGif:
      return "gifload_buffer";
    case Format::kTiff:
      return "tiffload_buffer";
    case Format::kAvif:
    case Format::kHeic:
      return "heifload_buffer";
    default:
      return nullptr;
  }
}

struct BlobUnref {
  void operator()(VipsBlob* blob) const noexcept { vips_area_unref(VIPS_AREA(blob)); }
};

/// `frames`: -1 for all; 0 where the loader knows of no frames.
Result<Image> load(Session& session, ByteSpan data, Format format, FailOn fail_on, int frames) {
  const char* loader = loader_of(format);
  if (loader == nullptr || vips_type_find("VipsOperation", loader) == 0) {
    return Error(ErrorCode::kUnsupportedFormat, std::string("this libvips cannot read ") + format_name(format));
  }
  const std::unique_ptr<VipsBlob, BlobUnref> blob(vips_blob_new(nullptr, data.data(), data.size()));
  const VipsAccess access = frames < 0 ? VIPS_ACCESS_RANDOM : VIPS_ACCESS_SEQUENTIAL;
  const VipsFailOn fail = fail_on == FailOn::kNone ? VIPS_FAIL_ON_NONE : VIPS_FAIL_ON_ERROR;
  VipsImage* out = nullptr;
  const int failed = frames == 0
                         ? vips_call(loader, blob.get(), &out, "access", access, "fail_on", fail, nullptr)
                         : vips_call(loader, blob.get(), &out, "access", access, "fail_on", fail, "n", frames, nullptr);
  if (failed != 0)
    return session.failure(ErrorCode::kImage, std::string("libvips cannot read this ") + format_name(format));
  const Image loaded(out);
  Image guarded = session.guarded(loaded.get());
  if (guarded == nullptr)
    return session.failure(ErrorCode::kImage, std::string("libvips cannot read this ") + format_name(format));
  return guarded;
}

std::uint8_t bits_of(VipsBandFormat format) noexcept {
  return static_cast<std::uint8_t>(vips_format_sizeof(format) * 8);
}

ColorSpace color_space_of(VipsImage* image) noexcept {
  switch (vips_image_get_interpretation(image)) {
    case VIPS_INTERPRETATION_CMYK:
      return ColorSpace::kCmyk;
    case VIPS_INTERPRETATION_B_W:
    case VIPS_INTERPRETATION_GREY16:
      return ColorSpace::kGrey;
    default:
      return vips_image_get_bands(image) <= 2 ? ColorSpace::kGrey : ColorSpace::kSrgb;
  }
}

Error too_many_pixels(const ImageInfo& info, const Limits& limits) {
  const std::string frames = info.frames > 1 ? " in " + std::to_string(info.frames) + " frames" : "";
  return {ErrorCode::kImageLimit, "the picture has " + std::to_string(info.width) + "x" + std::to_string(info.height) +
                                      " pixels" + frames + ", max_pixels allows " + std::to_string(limits.max_pixels)};
}

}  // namespace

Result<Image> load_first(Session& session, ByteSpan data, Format format, FailOn fail_on) {
  return load(session, data, format, fail_on, format == Format::kJpeg || format == Format::kPng ? 0 : 1);
}

Result<Image> load_all(Session& session, ByteSpan data, Format format, FailOn fail_on) {
  return load(session, data, format, fail_on, -1);
}

ImageInfo info_of(VipsImage* image, Format format) {
  ImageInfo info;
  info.format = format;
  info.width = static_cast<std::uint32_t>(vips_image_get_width(image));
  info.height = static_cast<std::uint32_t>(vips_image_get_page_height(image));
  info.channels = static_cast<std::uint8_t>(std::min(vips_image_get_bands(image), 255));
  info.bits = bits_of(vips_image_get_format(image));
  info.orientation = static_cast<std::uint8_t>(vips_image_get_orientation(image));
  info.color_space = color_space_of(image);
  info.has_alpha = vips_image_hasalpha(image) != 0;
  info.has_profile = vips_image_get_typeof(image, VIPS_META_ICC_NAME) != 0;
  int progressive = 0;
  if (vips_image_get_typeof(image, "interlaced") != 0) vips_image_get_int(image, "interlaced", &progressive);
  info.progressive = progressive != 0;
  // Pages of a TIFF, pictures of a HEIC are no frames of an animation.
  const bool animated = format == Format::kGif || format == Format::kWebp;
  info.frames = animated ? static_cast<std::uint32_t>(vips_image_get_n_pages(image)) : 1;
  return info;
}

Result<Unit> check_pixels(const ImageInfo& info, const Limits& limits) {
  if (std::uint64_t{info.width} * info.height <= limits.max_pixels) return Unit{};
  return too_many_pixels(info, limits);
}

Result<Unit> check_frames(const ImageInfo& info, const Limits& limits) {
  if (info.frames > limits.max_frames) {
    return Error(ErrorCode::kImageLimit, "the animation has " + std::to_string(info.frames) +
                                             " frames, max_frames allows " + std::to_string(limits.max_frames));
  }
  if (std::uint64_t{info.width} * info.height <= limits.max_pixels / info.frames) return Unit{};
  return too_many_pixels(info, limits);
}

}  // namespace offloop::image::vips
