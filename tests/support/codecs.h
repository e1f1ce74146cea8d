// For tests of decoders and encoders: pictures made of a seed, a sink that keeps everything, damage by a seed.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "image/decoder.h"
#include "image/pixels.h"

namespace offloop::testing {

using Bytes = std::vector<std::uint8_t>;

/// Keeps each plane's rows. With `rows`, is full after so many of the first plane.
class KeepingSink final : public image::RowSink {
 public:
  explicit KeepingSink(const image::Shape& shape, int rows = -1) : most_(rows) {
    for (const image::PlaneShape& plane : shape.planes) planes_.emplace_back(plane.width, plane.height, plane.channels);
    seen_.resize(planes_.size());
  }
  void row(int plane, const std::uint8_t* samples) override {
    image::Plane& to = planes_[static_cast<std::size_t>(plane)];
    int& y = seen_[static_cast<std::size_t>(plane)];
    ASSERT_LT(y, to.height);
    std::copy_n(samples, to.width * to.channels, to.row(y++));
  }
  [[nodiscard]] bool full() const noexcept override { return most_ >= 0 && seen_[0] >= most_; }
  [[nodiscard]] int seen(std::size_t plane = 0) const noexcept { return seen_[plane]; }
  [[nodiscard]] std::vector<image::Plane>& planes() noexcept { return planes_; }

 private:
  std::vector<image::Plane> planes_;
  std::vector<int> seen_;
  int most_;
};

/// What came of an attempt to decode.
struct Attempt {
  Error error;  ///< kOk when it worked
  image::ImageInfo info;
  image::Metadata metadata;
  image::Pixels pixels;
  [[nodiscard]] bool ok() const noexcept { return error.code == ErrorCode::kOk; }
};

using Opener = Result<std::unique_ptr<image::Decoder>> (*)(ByteSpan, const image::Limits&);

/// At most as many pixels as callers let through, so that a damaged header does not ask for all memory.
inline Attempt attempt(Opener open, ByteSpan file, const image::DecodeRequest& request = {},
                       const image::Stop& stop = {}, std::uint64_t most_pixels = 50'000'000) {
  Attempt out;
  auto opened = open(file, request.limits);
  if (!opened) return out.error = opened.error(), out;
  image::Decoder& decoder = *opened.value();
  out.info = decoder.info();
  out.metadata = decoder.metadata();
  if (static_cast<std::uint64_t>(out.info.width) * out.info.height > most_pixels) {
    return out.error = Error(ErrorCode::kImageLimit, "too large"), out;
  }
  auto shape = decoder.prepare(request);
  if (!shape) return out.error = shape.error(), out;
  out.info = decoder.info();
  KeepingSink sink(shape.value());
  if (auto done = decoder.decode(sink, stop); !done) return out.error = done.error(), out;
  for (std::size_t i = 0; i < sink.planes().size(); ++i) EXPECT_EQ(sink.seen(i), sink.planes()[i].height);
  out.pixels.model = shape.value().model;
  out.pixels.planes = std::move(sink.planes());
  out.pixels.width = out.pixels.planes[0].width;
  out.pixels.height = out.pixels.planes[0].height;
  if (out.pixels.planes.size() > 1) {
    out.pixels.chroma_x = out.pixels.planes[1].width < out.pixels.width ? 2 : 1;
    out.pixels.chroma_y = out.pixels.planes[1].height < out.pixels.height ? 2 : 1;
  }
  return out;
}

/// Waves with a little noise: compresses about as a photograph does, and has something for every filter.
inline image::Pixels make_picture(image::Model model, int width, int height, unsigned seed = 1) {
  std::minstd_rand random(seed);
  image::Pixels picture;
  picture.model = model;
  picture.width = width;
  picture.height = height;
  image::Plane plane(width, height, image::channels_of(model));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < plane.channels; ++c) {
        const double wave =
            std::sin(x * (0.03 + 0.01 * c)) + std::cos(y * (0.05 - 0.01 * c)) + std::sin((x + y) * 0.011);
        const double value = 128 + 40 * wave + static_cast<double>(random() % 7);
        plane.row(y)[x * plane.channels + c] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
      }
    }
  }
  picture.planes.push_back(std::move(plane));
  return picture;
}

/// A large picture, made quickly.
inline image::Pixels make_pattern(image::Model model, int width, int height) {
  image::Pixels picture;
  picture.model = model;
  picture.width = width;
  picture.height = height;
  image::Plane plane(width, height, image::channels_of(model));
  for (int y = 0; y < height; ++y) {
    std::uint8_t* row = plane.row(y);
    for (int i = 0; i < width * plane.channels; ++i) row[i] = static_cast<std::uint8_t>((i * 7 + y * (i >> 5)) >> 2);
  }
  picture.planes.push_back(std::move(plane));
  return picture;
}

inline bool same_rows(const image::Plane& a, const image::Plane& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return false;
  for (int y = 0; y < a.height; ++y) {
    if (!std::equal(a.row(y), a.row(y) + a.width * a.channels, b.row(y))) return false;
  }
  return true;
}

/// Peak signal-to-noise ratio in dB; 99 for equal planes.
inline double psnr(const image::Plane& a, const image::Plane& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return 0;
  double sum = 0;
  for (int y = 0; y < a.height; ++y) {
    for (int i = 0; i < a.width * a.channels; ++i) {
      const double difference = static_cast<double>(a.row(y)[i]) - static_cast<double>(b.row(y)[i]);
      sum += difference * difference;
    }
  }
  if (sum == 0) return 99;
  return 10 * std::log10(255.0 * 255.0 * a.width * a.height * a.channels / sum);
}

/// A copy with some bytes changed.
inline Bytes with_damage(const Bytes& file, unsigned seed) {
  std::mt19937 random(seed);
  Bytes damaged = file;
  const unsigned flips = 1 + random() % 4;
  for (unsigned i = 0; i < flips; ++i)
    damaged[random() % damaged.size()] ^= static_cast<std::uint8_t>(1 + random() % 255);
  return damaged;
}

}  // namespace offloop::testing
