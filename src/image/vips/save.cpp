#include "image/vips/save.h"

#include <webp/mux.h>

#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace offloop::image::vips {
namespace {

const char* saver_of(Format format) noexcept {
  switch (format) {
    case Format::kJpeg:
      return "jpegsave_buffer";
    case Format::kPng:
      return "pngsave_buffer";
    case Format::kWebp:
      return "webpsave_buffer";
    case Format::kGif:
      return "gifsave_buffer";
    case Format::kTiff:
      return "tiffsave_buffer";
    case Format::kAvif:
      return "heifsave_buffer";
    default:
      return nullptr;
  }
}

int call_saver(const char* saver, VipsImage* image, VipsBlob** blob, Format format, const Output& o, gboolean strip) {
  switch (format) {
    case Format::kJpeg: {
      const VipsForeignSubsample chroma =
          o.subsampling == Subsampling::k420 ? VIPS_FOREIGN_SUBSAMPLE_ON : VIPS_FOREIGN_SUBSAMPLE_OFF;
      return vips_call(saver, image, blob, "Q", int{o.quality}, "subsample_mode", chroma, "interlace",
                       gboolean{o.progressive}, "optimize_coding", gboolean{o.optimize}, "strip", strip, nullptr);
    }
    case Format::kPng:
      return vips_call(saver, image, blob, "compression", int{o.compression}, "interlace", gboolean{o.progressive},
                       "filter", VIPS_FOREIGN_PNG_FILTER_ALL, "strip", strip, nullptr);
    case Format::kWebp:
      return vips_call(saver, image, blob, "Q", int{o.quality}, "lossless", gboolean{o.lossless}, "effort",
                       int{o.effort}, "strip", strip, nullptr);
    case Format::kTiff:
      return vips_call(saver, image, blob, "compression", VIPS_FOREIGN_TIFF_COMPRESSION_LZW, "predictor",
                       VIPS_FOREIGN_TIFF_PREDICTOR_HORIZONTAL, "strip", strip, nullptr);
    case Format::kAvif:
      return vips_call(saver, image, blob, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_AV1, "Q", int{o.quality},
                       "lossless", gboolean{o.lossless}, "strip", strip, nullptr);
    default:
      return vips_call(saver, image, blob, "strip", strip, nullptr);
  }
}

struct MuxFree {
  void operator()(WebPMux* mux) const noexcept { WebPMuxDelete(mux); }
};

/// libvips 8.14 writes EXIF into every WebP, be it asked to strip it or not.
std::vector<std::uint8_t> clean_webp(std::vector<std::uint8_t> file, const Kept& kept) {
  constexpr int kNoCopy = 0;
  const WebPData data{file.data(), file.size()};
  const std::unique_ptr<WebPMux, MuxFree> mux(WebPMuxCreate(&data, kNoCopy));
  if (mux == nullptr) throw std::bad_alloc();
  bool changed = false;
  const auto remove = [&](const char* chunk) {
    changed = WebPMuxDeleteChunk(mux.get(), chunk) == WEBP_MUX_OK || changed;
  };
  if (!kept.metadata) remove("EXIF"), remove("XMP ");
  if (!kept.profile) remove("ICCP");
  if (!changed) return file;
  WebPData assembled;
  WebPDataInit(&assembled);
  const std::unique_ptr<WebPData, decltype(&WebPDataClear)> owned(&assembled, WebPDataClear);
  if (WebPMuxAssemble(mux.get(), &assembled) != WEBP_MUX_OK) throw std::bad_alloc();
  return {assembled.bytes, assembled.bytes + assembled.size};
}

bool starts_with_any(std::string_view field, std::initializer_list<std::string_view> prefixes) noexcept {
  for (const std::string_view prefix : prefixes) {
    if (field.substr(0, prefix.size()) == prefix) return true;
  }
  return false;
}

bool is_kept(std::string_view field, const Kept& kept) noexcept {
  if (field == VIPS_META_ICC_NAME) return kept.profile;
  if (starts_with_any(field, {"delay", "loop", "gif-", "page-height", "n-pages"})) return kept.frames > 1;
  if (field == VIPS_META_ORIENTATION || starts_with_any(field, {"exif-", "xmp-", "iptc-"})) return kept.metadata;
  return false;
}

}  // namespace

Result<Image> with_metadata(Session& session, const Image& image, const Kept& kept) {
  VipsImage* copy = nullptr;
  if (vips_copy(image.get(), &copy, nullptr) != 0) return session.failure(ErrorCode::kImage, "the picture is broken");
  Image out(copy);
  const std::unique_ptr<gchar*, decltype(&g_strfreev)> fields(vips_image_get_fields(copy), g_strfreev);
  for (gchar** field = fields.get(); *field != nullptr; ++field) {
    if (!is_kept(*field, kept)) vips_image_remove(copy, *field);  // does nothing for sizes and the like
  }
  if (kept.metadata && kept.oriented) vips_image_set_int(copy, VIPS_META_ORIENTATION, 1);
  if (kept.frames > 1) {
    vips_image_set_int(copy, VIPS_META_PAGE_HEIGHT, kept.frame_height);
    vips_image_set_int(copy, VIPS_META_N_PAGES, kept.frames);
  }
  return out;
}

Result<std::vector<std::uint8_t>> save(Session& session, const Image& image, Format format, const Output& output,
                                       const Kept& kept) {
  const char* saver = saver_of(format);
  if (saver == nullptr || vips_type_find("VipsOperation", saver) == 0) {
    return Error(ErrorCode::kUnsupportedFormat, std::string("this libvips cannot write ") + format_name(format));
  }
  const gboolean strip = kept.metadata || kept.profile ? FALSE : TRUE;
  session.watch(image.get());
  VipsBlob* blob = nullptr;
  if (call_saver(saver, image.get(), &blob, format, output, strip) != 0) {
    return session.failure(ErrorCode::kImage,
                           std::string("libvips cannot write this picture as ") + format_name(format));
  }
  const auto unref = [](VipsBlob* b) { vips_area_unref(VIPS_AREA(b)); };
  const std::unique_ptr<VipsBlob, decltype(unref)> owned(blob, unref);
  std::size_t size = 0;
  const auto* bytes = static_cast<const std::uint8_t*>(vips_blob_get(blob, &size));
  std::vector<std::uint8_t> file(bytes, bytes + size);
  return format == Format::kWebp ? clean_webp(std::move(file), kept) : std::move(file);
}

}  // namespace offloop::image::vips
