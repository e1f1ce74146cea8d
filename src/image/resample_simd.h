// The resampler's inner loops, by Highway: compiled for each instruction set, chosen at run time.
//
// Samples on their way are 16-bit: the 8-bit value times 128, and half of that after each blend, because the product of
// 16-bit numbers is taken as (a * b) / 32768 and weights are in 1/16384. So there is room for a kernel's overshoot of
// twice the range, and a tap's rounding is at most 1/128 level down, 1/64 across.
#pragma once

#include <cstddef>
#include <cstdint>

namespace offloop::image::simd {

inline constexpr int kSampleBits = 7;      ///< fraction bits of a sample before any blend; one less after each
inline constexpr std::size_t kStrip = 16;  ///< rows that are resampled across together
/// Rows of samples are padded to a multiple of so many, and may be written up to there.
inline constexpr std::size_t kPad = 64;

constexpr std::size_t padded(std::size_t samples) noexcept {
  return (samples + kPad - 1) / kPad * kPad;
}

/// out[i] = in[i] * 128. Reads n bytes.
void widen(const std::uint8_t* in, std::size_t n, std::int16_t* out) noexcept;
/// The same for interleaved samples whose last channel is alpha: the others are multiplied by it. channels: 2 or 4.
void widen_premultiplied(const std::uint8_t* in, std::size_t pixels, std::size_t channels, std::int16_t* out) noexcept;
/// sums[i] += row[i].
void add_row(const std::int16_t* row, std::size_t n, std::int32_t* sums) noexcept;

/// out[i] = sum over k of rows[k][i] * weights[k] / 32768. All padded.
void blend_rows(const std::int16_t* const* rows, const std::int16_t* weights, std::size_t taps, std::size_t n,
                std::int16_t* out) noexcept;
/// 16 rows, `row_stride` samples apart, become columns: strip[i * 16 + r] = rows[r * row_stride + i]. n a multiple
/// of 8.
void to_strip(const std::int16_t* rows, std::size_t row_stride, std::size_t n, std::int16_t* strip) noexcept;
/// The other way round.
void from_strip(const std::int16_t* strip, std::size_t n, std::int16_t* rows, std::size_t row_stride) noexcept;
/// One result pixel for 16 rows: out[c * 16 + r] = sum over k of strip[(k * channels + c) * 16 + r] * weights[k] /
/// 32768.
void blend_columns(const std::int16_t* strip, const std::int16_t* weights, std::size_t taps, std::size_t channels,
                   std::int16_t* out) noexcept;

/// out[i] = in[i] without its fraction bits, rounded, within 0 to 255. Writes n bytes.
void narrow(const std::int16_t* in, std::size_t n, int bits, std::uint8_t* out) noexcept;
/// The same for what widen_premultiplied() made: colours are divided by their alpha.
void narrow_unpremultiplied(const std::int16_t* in, std::size_t pixels, std::size_t channels, int bits,
                            std::uint8_t* out) noexcept;

/// The instruction set in use, as Highway names it ("AVX2"). [any thread]
const char* target_name() noexcept;

}  // namespace offloop::image::simd
