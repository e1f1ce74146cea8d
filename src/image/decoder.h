// What every decoder offers: rows from top to bottom, pushed into a sink, so that a picture need not be in memory
// whole.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image/pixels.h"
#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/image/info.h"
#include "offloop/image/recipe.h"
#include "offloop/image/stop.h"

namespace offloop::image {

/// What comes along with the pixels. Spans point into the input, vectors hold what had to be put together.
struct Metadata {
  std::vector<std::uint8_t> icc;
  std::vector<std::uint8_t> exif;  ///< a TIFF header and what follows, without "Exif\0\0"
  std::vector<std::uint8_t> xmp;   ///< the packet, without a namespace in front
};

/// What a decoder needs to know before it starts.
struct DecodeRequest {
  Limits limits;
  FailOn fail_on = FailOn::kError;
  /// Source pixels for one of the result, the smaller of both axes: a decoder may deliver fewer pixels at once when
  /// this leaves the resampler enough to do. 1 or less: all of them.
  double shrink = 1;
  /// Three planes instead of RGB, where the picture is stored so.
  bool want_ycc = false;
};

struct PlaneShape {
  int width = 0;  ///< samples
  int height = 0;
  int channels = 1;
  double per_pixel_x = 1;  ///< samples for one pixel of the picture; 0.5 for a picture decoded at half its size
  double per_pixel_y = 1;
};

struct Shape {
  Model model = Model::kRgb;
  std::vector<PlaneShape> planes;
};

/// Takes rows. [the decoding thread]
class RowSink {
 public:
  /// The next row of a plane, width * channels bytes, valid during the call.
  virtual void row(int plane, const std::uint8_t* samples) = 0;
  /// True when the rest is not needed: the decoder may end early, with success.
  [[nodiscard]] virtual bool full() const noexcept = 0;

 protected:
  ~RowSink() = default;
};

/// One picture. Opened on its header: nothing has been decoded then. The input outlives it. One thread.
class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;

  [[nodiscard]] const ImageInfo& info() const noexcept { return info_; }
  [[nodiscard]] const Metadata& metadata() const noexcept { return metadata_; }
  /// Settles how it will decode. Once, before decode().
  virtual Result<Shape> prepare(const DecodeRequest& request) = 0;
  /// All rows of all planes into the sink, in order within a plane. kImage, kStopped, kTimeout, kOutOfMemory. May throw
  /// std::bad_alloc.
  virtual Result<Unit> decode(RowSink& sink, const Stop& stop) = 0;

 protected:
  ImageInfo info_;
  Metadata metadata_;
};

/// Each opens its format, whose signature has been seen: reads the header and the metadata. kImage when it is broken,
/// kImageLimit for what only this format has (scans, frames). Size limits are judged by the caller. May throw
/// std::bad_alloc.
Result<std::unique_ptr<Decoder>> open_jpeg(ByteSpan data, const Limits& limits);
Result<std::unique_ptr<Decoder>> open_png(ByteSpan data, const Limits& limits);
Result<std::unique_ptr<Decoder>> open_webp(ByteSpan data, const Limits& limits);

}  // namespace offloop::image
