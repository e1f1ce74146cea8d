// WebP by libwebp's incremental decoder: fed piece by piece, so that a stop is seen in between, and rows go on as soon
// as they are there.
#include <webp/decode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "image/decoder.h"
#include "image/exif.h"
#include "image/webp_chunks.h"
#include "image/webp_range.h"

namespace offloop::image {
namespace webp {
namespace {

/// How much of the way libwebp's averaging may go; the rest is for our resampler. At 4 nothing of it is to be seen.
constexpr double kLeftForResampler = 4;
/// Pixels decoded between two looks at the stop, as far as bytes tell.
constexpr std::size_t kPiecePixels = 1U << 17;

struct IncrementalFree {
  void operator()(WebPIDecoder* p) const noexcept { WebPIDelete(p); }
};
struct BufferFree {
  void operator()(WebPDecBuffer* p) const noexcept { WebPFreeDecBuffer(p); }
};

class WebpDecoder final : public Decoder {
 public:
  WebpDecoder(const Header& header, Metadata metadata) : header_(header) {
    metadata_ = std::move(metadata);
    info_.format = Format::kWebp;
    info_.width = header.width;
    info_.height = header.height;
    info_.channels = header.alpha ? 4 : 3;
    info_.has_alpha = header.alpha;
    info_.has_profile = !metadata_.icc.empty();
    info_.orientation = exif_orientation(metadata_.exif);
    info_.frames = header.frames;
  }

  Result<Shape> prepare(const DecodeRequest& request) override;
  Result<Unit> decode(RowSink& sink, const Stop& stop) override;

 private:
  void scale_down(double shrink);
  [[nodiscard]] WEBP_CSP_MODE mode() const noexcept {
    return shape_.model == Model::kYcc ? MODE_YUV : shape_.model == Model::kRgba ? MODE_RGBA : MODE_RGB;
  }
  Result<Unit> feed(WebPIDecoder& decoder, RowSink& sink, const Stop& stop);
  void deliver(int ready, const WebPDecBuffer& buffer, RowSink& sink);
  void deliver_planes(int ready, const WebPYUVABuffer& buffer, RowSink& sink);
  void deliver_rows(int ready, const WebPRGBABuffer& buffer, RowSink& sink);
  void deliver_nothing(RowSink& sink);

  Header header_;
  FailOn fail_on_ = FailOn::kError;
  WebPDecoderConfig config_{};
  Shape shape_;
  int decoded_width_ = 0;  // after libwebp's own scaling
  int decoded_height_ = 0;
  std::vector<std::uint8_t> row_;
  int delivered_[3] = {0, 0, 0};  // rows of each plane
};

/// To a whole fraction, which leaves the resampler a picture several times as large as the result.
void WebpDecoder::scale_down(double shrink) {
  const int factor = static_cast<int>(std::min(shrink, 1e4) / kLeftForResampler);
  // Libwebp weighs colours without their alpha.
  if (factor < 2 || header_.alpha) return;
  decoded_width_ = (decoded_width_ + factor - 1) / factor;
  decoded_height_ = (decoded_height_ + factor - 1) / factor;
  config_.options.use_scaling = 1;
  config_.options.scaled_width = decoded_width_;
  config_.options.scaled_height = decoded_height_;
}

Result<Shape> WebpDecoder::prepare(const DecodeRequest& request) {
  fail_on_ = request.fail_on;
  if (WebPInitDecoderConfig(&config_) == 0)
    return Error(ErrorCode::kInternal, "libwebp is of another version than its headers");
  const auto width = static_cast<int>(header_.width);
  const auto height = static_cast<int>(header_.height);
  decoded_width_ = static_cast<int>(header_.frame_width);
  decoded_height_ = static_cast<int>(header_.frame_height);
  scale_down(request.shrink);
  const bool planes = request.want_ycc && header_.lossy && !header_.alpha;
  shape_.model = planes ? Model::kYcc : header_.alpha ? Model::kRgba : Model::kRgb;
  const bool scaled = config_.options.use_scaling != 0;
  PlaneShape first{scaled ? decoded_width_ : width, scaled ? decoded_height_ : height, channels_of(shape_.model), 1, 1};
  first.per_pixel_x = static_cast<double>(first.width) / width;
  first.per_pixel_y = static_cast<double>(first.height) / height;
  shape_.planes = {first};
  if (planes) {
    PlaneShape chroma{(first.width + 1) / 2, (first.height + 1) / 2, 1, 0.5, 0.5};
    if (scaled) {  // from the stored chroma plane, whose last sample may stand for one pixel
      chroma.per_pixel_x = 0.5 * chroma.width / ((width + 1) / 2);  // NOLINT(bugprone-integer-division): whole samples
      chroma.per_pixel_y = 0.5 * chroma.height / ((height + 1) / 2);  // NOLINT(bugprone-integer-division)
    }
    shape_.planes.insert(shape_.planes.end(), 2, chroma);
  }
  config_.output.colorspace = mode();
  return shape_;
}

Result<Unit> WebpDecoder::decode(RowSink& sink, const Stop& stop) {
  const std::unique_ptr<WebPDecBuffer, BufferFree> buffer(&config_.output);  // frees what the decoder puts there
  const std::unique_ptr<WebPIDecoder, IncrementalFree> decoder(WebPIDecode(nullptr, 0, &config_));
  if (decoder == nullptr) throw std::bad_alloc();
  row_.resize(static_cast<std::size_t>(shape_.planes[0].width) * 4);
  Result<Unit> fed = feed(*decoder, sink, stop);
  if (!fed) return fed;
  deliver_nothing(sink);
  return Unit{};
}

Result<Unit> WebpDecoder::feed(WebPIDecoder& decoder, RowSink& sink, const Stop& stop) {
  const ByteSpan data = header_.picture;
  const std::size_t pixels = std::size_t{header_.frame_width} * header_.frame_height;
  const std::size_t piece = std::max<std::size_t>(4096, data.size() / (1 + pixels / kPiecePixels));
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (std::size_t size = 0; status == VP8_STATUS_SUSPENDED && size < data.size();) {
    if (sink.full()) return Unit{};
    if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
    size = std::min(data.size(), size + piece);
    status = WebPIUpdate(&decoder, data.data(), size);
    int ready = 0;
    if (const WebPDecBuffer* buffer = WebPIDecodedArea(&decoder, nullptr, nullptr, nullptr, &ready);
        buffer != nullptr) {
      deliver(ready, *buffer, sink);
    }
  }
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status == VP8_STATUS_OK || fail_on_ == FailOn::kNone) return Unit{};
  return broken_webp(status == VP8_STATUS_SUSPENDED ? "the file ends too early" : "the pixels are damaged");
}

/// What is new of `ready` decoded rows.
void WebpDecoder::deliver(int ready, const WebPDecBuffer& buffer, RowSink& sink) {
  if (shape_.model == Model::kYcc) {
    deliver_planes(ready, buffer.u.YUVA, sink);
  } else {
    deliver_rows(ready, buffer.u.RGBA, sink);
  }
}

void WebpDecoder::deliver_planes(int ready, const WebPYUVABuffer& buffer, RowSink& sink) {
  const std::uint8_t* const planes[] = {buffer.y, buffer.u, buffer.v};
  const int strides[] = {buffer.y_stride, buffer.u_stride, buffer.v_stride};
  for (int i = 0; i < 3; ++i) {
    const PlaneShape& plane = shape_.planes[static_cast<std::size_t>(i)];
    // Half of an odd number of rows is there only with the next one, or at the end.
    const int rows = i == 0 ? ready : ready == decoded_height_ ? plane.height : ready / 2;
    for (int& y = delivered_[i]; y < rows && !sink.full(); ++y) {
      convert_row(i == 0 ? kLumaToFull : kChromaToFull, planes[i] + std::ptrdiff_t{y} * strides[i], row_.data(),
                  plane.width);
      sink.row(i, row_.data());
    }
  }
}

/// On the canvas, which is transparent where the frame is not.
void WebpDecoder::deliver_rows(int ready, const WebPRGBABuffer& buffer, RowSink& sink) {
  const auto channels = static_cast<std::size_t>(shape_.planes[0].channels);
  const int top = static_cast<int>(header_.top);
  const bool direct = header_.fills_canvas();
  for (int& y = delivered_[0]; y < top + ready && !sink.full(); ++y) {
    if (direct) {
      sink.row(0, buffer.rgba + std::ptrdiff_t{y} * buffer.stride);
      continue;
    }
    std::fill(row_.begin(), row_.end(), std::uint8_t{0});
    if (y >= top) {
      std::memcpy(row_.data() + header_.left * channels, buffer.rgba + std::ptrdiff_t{y - top} * buffer.stride,
                  header_.frame_width * channels);
    }
    sink.row(0, row_.data());
  }
}

/// What lies below the frame, or was lost.
void WebpDecoder::deliver_nothing(RowSink& sink) {
  for (std::size_t i = 0; i < shape_.planes.size(); ++i) {
    std::fill(row_.begin(), row_.end(), i == 0 ? std::uint8_t{0} : std::uint8_t{128});
    for (int& y = delivered_[i]; y < shape_.planes[i].height && !sink.full(); ++y)
      sink.row(static_cast<int>(i), row_.data());
  }
}

}  // namespace
}  // namespace webp

Result<std::unique_ptr<Decoder>> open_webp(ByteSpan data, const Limits& /*limits*/) {
  Metadata metadata;
  Result<webp::Header> header = webp::read_chunks(data, metadata);
  if (!header) return std::move(header).error();
  return std::unique_ptr<Decoder>(std::make_unique<webp::WebpDecoder>(header.value(), std::move(metadata)));
}

}  // namespace offloop::image
