#include <webp/encode.h>
#include <webp/mux.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "image/encoder.h"
#include "image/webp_range.h"

namespace offloop::image {
namespace {

struct PictureFree {
  void operator()(WebPPicture* p) const noexcept { WebPPictureFree(p); }
};
struct MuxFree {
  void operator()(WebPMux* p) const noexcept { WebPMuxDelete(p); }
};

/// What libwebp's callbacks get.
struct Session {
  const Stop* stop = nullptr;
  ErrorCode stopped = ErrorCode::kOk;
  Bytes out;
};

/// Asked about every hundredth of the work. 0 ends it.
int on_progress(int /*percent*/, const WebPPicture* picture) {
  auto* session = static_cast<Session*>(picture->user_data);
  session->stopped = session->stop->requested();
  return session->stopped == ErrorCode::kOk ? 1 : 0;
}

/// No exception may pass through libwebp: 0 says that writing failed.
int on_write(const std::uint8_t* data, std::size_t size, const WebPPicture* picture) {
  try {
    Bytes& out = static_cast<Session*>(picture->custom_ptr)->out;
    out.insert(out.end(), data, data + size);
    return 1;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

void import_ycc(const Pixels& pixels, WebPPicture& picture) {
  if (WebPPictureAlloc(&picture) == 0) throw std::bad_alloc();
  std::uint8_t* const planes[] = {picture.y, picture.u, picture.v};
  const int strides[] = {picture.y_stride, picture.uv_stride, picture.uv_stride};
  for (std::size_t i = 0; i < 3; ++i) {
    const Plane& plane = pixels.planes[i];
    for (int y = 0; y < plane.height; ++y) {
      webp::convert_row(i == 0 ? webp::kLumaToLimited : webp::kChromaToLimited, plane.row(y),
                        planes[i] + std::ptrdiff_t{y} * strides[i], plane.width);
    }
  }
}

/// WebP knows no grey: the same three times.
Plane widened(const Plane& grey) {
  const bool alpha = grey.channels == 2;
  Plane out(grey.width, grey.height, alpha ? 4 : 3);
  for (int y = 0; y < grey.height; ++y) {
    const std::uint8_t* from = grey.row(y);
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < grey.width; ++x, from += grey.channels) {
      for (int c = 0; c < 3; ++c) *to++ = from[0];
      if (alpha) *to++ = from[1];
    }
  }
  return out;
}

void import_rows(const Plane& plane, int top, WebPPicture& picture) {
  const auto stride = static_cast<int>(plane.stride);
  const int done = plane.channels == 4 ? WebPPictureImportRGBA(&picture, plane.row(top), stride)
                                       : WebPPictureImportRGB(&picture, plane.row(top), stride);
  if (done == 0) throw std::bad_alloc();
}

void copy_rows(const std::uint8_t* from, int from_stride, std::uint8_t* to, int to_stride, int width,
               int rows) noexcept {
  for (int y = 0; y < rows; ++y) {
    std::memcpy(to + std::ptrdiff_t{y} * to_stride, from + std::ptrdiff_t{y} * from_stride,
                static_cast<std::size_t>(width));
  }
}

/// libwebp makes its planes of the whole picture at once, and would not see a stop for a second. Strip by strip it
/// makes the same.
ErrorCode import_in_strips(const Plane& plane, WebPPicture& picture, const Stop& stop) {
  constexpr int kStripPixels = 1 << 18;
  const bool alpha = plane.channels == 4;
  picture.colorspace = alpha ? WEBP_YUV420A : WEBP_YUV420;
  if (WebPPictureAlloc(&picture) == 0) throw std::bad_alloc();
  const int rows = std::max(2, kStripPixels / plane.width / 2 * 2);  // chroma is made of pairs
  for (int top = 0; top < plane.height; top += rows) {
    if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return code;
    WebPPicture strip;
    if (WebPPictureInit(&strip) == 0) throw std::bad_alloc();
    const std::unique_ptr<WebPPicture, PictureFree> owned(&strip);
    strip.width = plane.width;
    strip.height = std::min(rows, plane.height - top);
    import_rows(plane, top, strip);
    const std::ptrdiff_t luma = std::ptrdiff_t{top} * picture.y_stride;
    const std::ptrdiff_t chroma = std::ptrdiff_t{top / 2} * picture.uv_stride;
    const int half_width = (strip.width + 1) / 2;
    const int half_height = (strip.height + 1) / 2;
    copy_rows(strip.y, strip.y_stride, picture.y + luma, picture.y_stride, strip.width, strip.height);
    copy_rows(strip.u, strip.uv_stride, picture.u + chroma, picture.uv_stride, half_width, half_height);
    copy_rows(strip.v, strip.uv_stride, picture.v + chroma, picture.uv_stride, half_width, half_height);
    if (!alpha) continue;
    std::uint8_t* to = picture.a + std::ptrdiff_t{top} * picture.a_stride;
    if (strip.a != nullptr) {
      copy_rows(strip.a, strip.a_stride, to, picture.a_stride, strip.width, strip.height);
    } else {  // nothing of it is transparent
      std::memset(to, 255, static_cast<std::size_t>(picture.a_stride) * static_cast<std::size_t>(strip.height));
    }
  }
  return ErrorCode::kOk;
}

ErrorCode import_interleaved(const Plane& plane, WebPPicture& picture, const Stop& stop) {
  if (plane.channels <= 2) return import_interleaved(widened(plane), picture, stop);
  if (picture.use_argb == 0) return import_in_strips(plane, picture, stop);
  import_rows(plane, 0, picture);
  return ErrorCode::kOk;
}

Result<Unit> check(const Pixels& pixels) {
  if (pixels.width > WEBP_MAX_DIMENSION || pixels.height > WEBP_MAX_DIMENSION) {
    return Error(ErrorCode::kImage, "WebP holds at most 16383 pixels a side, got " + std::to_string(pixels.width) +
                                        "x" + std::to_string(pixels.height));
  }
  if (pixels.model == Model::kYcc &&
      (pixels.planes.size() != 3 || pixels.chroma_x != 2 || pixels.chroma_y != 2 ||
       pixels.planes[1].width != (pixels.width + 1) / 2 || pixels.planes[1].height != (pixels.height + 1) / 2)) {
    return Error(ErrorCode::kInternal, "WebP takes planes with half as much chroma each way");
  }
  return Unit{};
}

Bytes with_metadata(Bytes file, const Metadata& metadata) {
  if (metadata.icc.empty() && metadata.exif.empty() && metadata.xmp.empty()) return file;
  const std::unique_ptr<WebPMux, MuxFree> mux(WebPMuxNew());
  if (mux == nullptr) throw std::bad_alloc();
  const auto done = [](WebPMuxError error) {
    if (error != WEBP_MUX_OK) throw std::bad_alloc();  // all else is right by construction
  };
  constexpr int kNoCopy = 0;
  const WebPData image{file.data(), file.size()};
  done(WebPMuxSetImage(mux.get(), &image, kNoCopy));
  const auto put = [&](const char* type, const std::vector<std::uint8_t>& part) {
    if (part.empty()) return;
    const WebPData data{part.data(), part.size()};
    done(WebPMuxSetChunk(mux.get(), type, &data, kNoCopy));
  };
  put("ICCP", metadata.icc);
  put("EXIF", metadata.exif);
  put("XMP ", metadata.xmp);
  WebPData assembled;
  WebPDataInit(&assembled);
  const std::unique_ptr<WebPData, decltype(&WebPDataClear)> owned(&assembled, WebPDataClear);
  done(WebPMuxAssemble(mux.get(), &assembled));
  return {assembled.bytes, assembled.bytes + assembled.size};
}

Error encoding_error(const WebPPicture& picture, ErrorCode stopped) {
  if (stopped != ErrorCode::kOk) return stop_error(stopped);
  switch (picture.error_code) {
    case VP8_ENC_ERROR_OUT_OF_MEMORY:
    case VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY:
    case VP8_ENC_ERROR_BAD_WRITE:
      throw std::bad_alloc();
    case VP8_ENC_ERROR_PARTITION0_OVERFLOW:
    case VP8_ENC_ERROR_PARTITION_OVERFLOW:
    case VP8_ENC_ERROR_FILE_TOO_BIG:
      return {ErrorCode::kImage, "the picture has more detail than a WebP can hold"};
    default:
      return {ErrorCode::kInternal, "libwebp refused a picture: error " + std::to_string(picture.error_code)};
  }
}

}  // namespace

Result<Bytes> encode_webp(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop) {
  if (Result<Unit> fits = check(pixels); !fits) return std::move(fits).error();
  if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
  WebPConfig config;
  WebPPicture picture;
  if (WebPConfigInit(&config) == 0 || WebPPictureInit(&picture) == 0) {
    return Error(ErrorCode::kInternal, "libwebp is of another version than its headers");
  }
  const std::unique_ptr<WebPPicture, PictureFree> owned(&picture);
  config.quality = output.quality;
  config.method = output.effort;
  config.lossless = output.lossless ? 1 : 0;
  Session session;
  session.stop = &stop;
  picture.use_argb = output.lossless && pixels.model != Model::kYcc ? 1 : 0;
  picture.width = pixels.width;
  picture.height = pixels.height;
  picture.writer = on_write;
  picture.custom_ptr = &session;
  picture.progress_hook = on_progress;
  picture.user_data = &session;
  if (pixels.model == Model::kYcc) {
    import_ycc(pixels, picture);
  } else if (const ErrorCode code = import_interleaved(pixels.planes[0], picture, stop); code != ErrorCode::kOk) {
    return stop_error(code);
  }
  if (WebPEncode(&config, &picture) == 0) return encoding_error(picture, session.stopped);
  return with_metadata(std::move(session.out), metadata);
}

}  // namespace offloop::image
