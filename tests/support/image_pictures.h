// Pictures for tests: made, not stored.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "image/encoder.h"
#include "image/jpeg_errors.h"
#include "image/pixels.h"

namespace offloop::image::testing {

/// Waves, an edge and a little noise. Not kYcc.
inline Pixels natural(int width, int height, Model model, unsigned seed) {
  std::mt19937 random(seed);
  Pixels pixels{model, width, height, 1, 1, {}};
  Plane& plane = pixels.planes.emplace_back(width, height, channels_of(model));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < plane.channels; ++c) {
        const double wave = 50 * std::sin((x + 9.0 * c + seed) / 11.0) + 40 * std::cos((y - 5.0 * c) / 17.0);
        const double edge = (x * 3 + y * 2) % 97 < 40 ? 20 : -20;
        const double value = 127 + wave + edge + static_cast<double>(random() % 9) - 4;
        plane.row(y)[x * plane.channels + c] =
            static_cast<std::uint8_t>(std::lrint(std::fmin(255, std::fmax(0, value))));
      }
    }
  }
  return pixels;
}

inline Bytes encoded(const Pixels& pixels, const Output& output) {
  Result<Bytes> bytes = encode_jpeg(pixels, output, {}, {});
  if (!bytes.ok()) std::abort();
  return std::move(bytes).value();
}

inline double mean_squared_error(const Plane& a, const Plane& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return 1e9;
  double sum = 0;
  for (int y = 0; y < a.height; ++y) {
    for (int i = 0; i < a.width * a.channels; ++i) {
      const double difference = a.row(y)[i] - b.row(y)[i];
      sum += difference * difference;
    }
  }
  return sum / (static_cast<double>(a.width) * a.height * a.channels);
}

/// A TIFF header and a directory with that one entry.
inline std::vector<std::uint8_t> exif_with_orientation(unsigned orientation, bool little = true) {
  const auto value = static_cast<std::uint8_t>(orientation);
  if (little) return {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0};
  return {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0};
}

/// One colour, with Adobe's marker.
inline Bytes cmyk_jpeg(int width, int height, std::array<std::uint8_t, 4> inks) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = 4;
  jpeg.in_color_space = JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<std::uint8_t> row;
  for (int x = 0; x < width; ++x) row.insert(row.end(), inks.begin(), inks.end());
  JSAMPROW rows[] = {row.data()};
  while (jpeg.next_scanline < jpeg.image_height) jpeg_write_scanlines(&jpeg, rows, 1);
  jpeg_finish_compress(&jpeg);
  Bytes bytes(data, data + size);
  jpeg_destroy_compress(&jpeg);
  std::free(data);
  return bytes;
}

}  // namespace offloop::image::testing
