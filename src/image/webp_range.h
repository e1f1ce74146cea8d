// WebP's YCbCr uses 16 to 235 (luma) and 16 to 240 (chroma), JPEG's all of 0 to 255. Both are BT.601, so that a table
// each way is all that stands between them.
#pragma once

#include <array>
#include <cstdint>

namespace offloop::image::webp {

using Table = std::array<std::uint8_t, 256>;

/// `value * numerator / denominator`, rounded, about `zero_in` and `zero_out`.
constexpr Table make_table(int zero_in, int zero_out, int numerator, int denominator) noexcept {
  Table table{};
  for (int i = 0; i < 256; ++i) {
    const int scaled = 2 * (i - zero_in) * numerator;
    const int rounded = (scaled + (scaled < 0 ? -denominator : denominator)) / (2 * denominator);
    const int value = zero_out + rounded;
    table[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
  return table;
}

inline constexpr Table kLumaToFull = make_table(16, 0, 255, 219);
inline constexpr Table kChromaToFull = make_table(128, 128, 255, 224);
inline constexpr Table kLumaToLimited = make_table(0, 16, 219, 255);
inline constexpr Table kChromaToLimited = make_table(128, 128, 224, 255);

inline void convert_row(const Table& table, const std::uint8_t* from, std::uint8_t* to, int samples) noexcept {
  for (int i = 0; i < samples; ++i) to[i] = table[from[i]];
}

}  // namespace offloop::image::webp
