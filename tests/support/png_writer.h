// Writes PNGs of every kind by libpng, and any chunk by hand.
#pragma once

#include <png.h>
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string_view>
#include <vector>

namespace offloop::testing {

struct PngKind {
  int color = PNG_COLOR_TYPE_RGB;
  int depth = 8;
  bool interlaced = false;
  bool transparency = false;  ///< tRNS: grey value or colour 1, every second palette entry
};

struct WrittenPng {
  std::vector<std::uint8_t> file;
  int channels = 0;                    ///< of what a decoder is to deliver
  std::vector<std::uint8_t> expected;  ///< its rows, 8 bits, without gaps
};

inline std::uint8_t palette_value(unsigned index, int channel) {
  return static_cast<std::uint8_t>(index * 37 + static_cast<unsigned>(channel) * 91 + 3);
}

inline std::uint8_t palette_alpha(unsigned index) {
  return index % 2 == 0 ? static_cast<std::uint8_t>(index * 11) : std::uint8_t{255};
}

namespace detail {

/// What the decoder is to make of one pixel's samples.
inline void expect_pixel(WrittenPng& png, const PngKind& kind, const std::uint16_t* samples, int count) {
  const unsigned most = (1U << kind.depth) - 1;
  if (kind.color == PNG_COLOR_TYPE_PALETTE) {
    for (int c = 0; c < 3; ++c) png.expected.push_back(palette_value(samples[0], c));
    if (kind.transparency) png.expected.push_back(palette_alpha(samples[0]));
    return;
  }
  bool transparent = kind.transparency;
  for (int c = 0; c < count; ++c) {
    png.expected.push_back(static_cast<std::uint8_t>((samples[c] * 255U + most / 2) / most));
    transparent = transparent && samples[c] == 1;
  }
  if (kind.transparency) png.expected.push_back(transparent ? 0 : 255);
}

}  // namespace detail

inline WrittenPng write_png(const PngKind& kind, int width, int height, unsigned seed = 1) {
  std::minstd_rand random(seed);
  WrittenPng out;
  const bool palette = kind.color == PNG_COLOR_TYPE_PALETTE;
  const int samples = palette || kind.color == PNG_COLOR_TYPE_GRAY ? 1
                      : kind.color == PNG_COLOR_TYPE_GRAY_ALPHA    ? 2
                      : kind.color == PNG_COLOR_TYPE_RGB           ? 3
                                                                   : 4;
  out.channels = (palette ? 3 : samples) + (kind.transparency ? 1 : 0);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png)) != 0) std::abort();
  png_set_write_fn(
      png, &out.file,
      [](png_structp p, png_bytep data, std::size_t n) {
        auto* file = static_cast<std::vector<std::uint8_t>*>(png_get_io_ptr(p));
        file->insert(file->end(), data, data + n);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), kind.depth, kind.color,
               kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  if (palette) {
    png_color entries[256];
    png_byte alphas[256];
    for (unsigned i = 0; i < 256; ++i) {
      entries[i] = {palette_value(i, 0), palette_value(i, 1), palette_value(i, 2)};
      alphas[i] = palette_alpha(i);
    }
    png_set_PLTE(png, info, entries, 1 << kind.depth);
    if (kind.transparency) png_set_tRNS(png, info, alphas, 1 << kind.depth, nullptr);
  } else if (kind.transparency) {
    png_color_16 one{0, 1, 1, 1, 1};
    png_set_tRNS(png, info, nullptr, 0, &one);
  }
  png_set_compression_level(png, 1);
  png_write_info(png, info);
  png_set_packing(png);
  const int passes = png_set_interlace_handling(png);
  const int bytes = kind.depth == 16 ? 2 : 1;
  std::vector<std::vector<std::uint8_t>> rows(static_cast<std::size_t>(height));
  const unsigned most = (1U << kind.depth) - 1;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      std::uint16_t values[4] = {};
      const bool marked = random() % 5 == 0;  // the transparent colour comes up
      for (int c = 0; c < samples; ++c) {
        const auto smooth = static_cast<unsigned>(x * (c + 3) + y * 2) * (most + 1) / 256;
        values[c] = static_cast<std::uint16_t>(marked ? 1 : (smooth + random() % 3) & most);
        if (bytes == 2) rows[static_cast<std::size_t>(y)].push_back(static_cast<std::uint8_t>(values[c] >> 8));
        rows[static_cast<std::size_t>(y)].push_back(static_cast<std::uint8_t>(values[c]));
      }
      detail::expect_pixel(out, kind, values, samples);
    }
  }
  for (int pass = 0; pass < passes; ++pass) {
    for (auto& row : rows) png_write_row(png, row.data());
  }
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

inline std::vector<std::uint8_t> png_chunk(std::string_view type, const std::vector<std::uint8_t>& data) {
  std::vector<std::uint8_t> out;
  const auto put = [&out](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
  };
  put(static_cast<std::uint32_t>(data.size()));
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), data.begin(), data.end());
  put(static_cast<std::uint32_t>(crc32(0, out.data() + 4, static_cast<uInt>(out.size() - 4))));
  return out;
}

/// Puts chunks behind the header (8 + 25 bytes).
inline std::vector<std::uint8_t> with_chunk(std::vector<std::uint8_t> file, const std::vector<std::uint8_t>& chunk) {
  file.insert(file.begin() + 33, chunk.begin(), chunk.end());
  return file;
}

inline std::vector<std::uint8_t> zlib_packed(const std::vector<std::uint8_t>& data) {
  uLongf size = compressBound(data.size());
  std::vector<std::uint8_t> out(size);
  if (compress2(out.data(), &size, data.data(), data.size(), 9) != Z_OK) std::abort();
  out.resize(size);
  return out;
}

}  // namespace offloop::testing
