#include "image/resample_simd.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/resample_simd.cpp"
// What they add here is nothing: SSSE3 is SSE4 without what we use, AVX3_DL is AVX3 with what we do not.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#ifndef OFFLOOP_IMAGE_ALPHA_SHAPE
#define OFFLOOP_IMAGE_ALPHA_SHAPE
namespace offloop::image::simd {

/// 2^16 * 128 / 255, rounded up: 255 * 255 becomes 255 * 128.
inline constexpr std::uint16_t kPremultiply = 32897;

/// For eight 16-bit samples of two or four channels: the bytes that bring alpha to every channel of its pixel, and 255
/// where alpha itself stands.
struct AlphaShape {
  explicit AlphaShape(std::size_t channels) noexcept {
    for (std::size_t i = 0; i < 8; ++i) {
      const std::size_t alpha = i / channels * channels + channels - 1;
      spread[2 * i] = static_cast<std::uint8_t>(2 * alpha);
      spread[2 * i + 1] = static_cast<std::uint8_t>(2 * alpha + 1);
      opaque[i] = i == alpha ? 255 : 0;
    }
  }
  alignas(16) std::uint8_t spread[16];
  alignas(16) std::uint16_t opaque[8];
};

}  // namespace offloop::image::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace offloop::image::simd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Samples = hn::ScalableTag<std::int16_t>;

void Widen(const std::uint8_t* HWY_RESTRICT in, std::size_t n, std::int16_t* HWY_RESTRICT out) {
  const Samples d;
  const hn::Rebind<std::uint8_t, Samples> d8;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::ShiftLeft<kSampleBits>(hn::PromoteTo(d, hn::LoadU(d8, in + i))), d, out + i);
  for (; i < n; ++i) out[i] = static_cast<std::int16_t>(in[i] << kSampleBits);
}

/// Colour times alpha / 255 times 128, rounded down: the last bit is 1/128 of a level.
HWY_INLINE std::int16_t PremultipliedOne(std::uint32_t color, std::uint32_t alpha) {
  return static_cast<std::int16_t>((color * alpha * kPremultiply) >> 16);
}

void WidenPremultiplied(const std::uint8_t* HWY_RESTRICT in, std::size_t pixels, std::size_t channels,
                        std::int16_t* HWY_RESTRICT out) {
  const std::size_t n = pixels * channels;
  std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  // Alpha goes to every channel of its pixel, and in its own place is multiplied by 255.
  const Samples d;
  const hn::RebindToUnsigned<Samples> du;
  const hn::Rebind<std::uint8_t, Samples> d8;
  const AlphaShape shape(channels);
  const auto spread = hn::LoadDup128(hn::Repartition<std::uint8_t, Samples>(), shape.spread);
  const auto opaque = hn::LoadDup128(du, shape.opaque);
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto sample = hn::BitCast(du, hn::PromoteTo(d, hn::LoadU(d8, in + i)));
    const auto alpha = hn::Or(hn::TableLookupBytes(sample, hn::BitCast(du, spread)), opaque);
    const auto product = hn::Mul(sample, alpha);
    hn::StoreU(hn::BitCast(d, hn::MulHigh(product, hn::Set(du, kPremultiply))), d, out + i);
  }
#endif
  for (; i < n; ++i) {
    const std::size_t channel = i % channels;
    const std::uint32_t alpha = channel == channels - 1 ? 255U : in[i - channel + channels - 1];
    out[i] = PremultipliedOne(in[i], alpha);
  }
}

void AddRow(const std::int16_t* HWY_RESTRICT row, std::size_t n, std::int32_t* HWY_RESTRICT sums) {
  const hn::ScalableTag<std::int32_t> d;
  const hn::Rebind<std::int16_t, decltype(d)> d16;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < n; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, sums + i), hn::PromoteTo(d, hn::LoadU(d16, row + i))), d, sums + i);
}

void BlendRows(const std::int16_t* const* HWY_RESTRICT rows, const std::int16_t* HWY_RESTRICT weights, std::size_t taps,
               std::size_t n, std::int16_t* HWY_RESTRICT out) {
  const Samples d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < n; i += 2 * lanes) {  // n is padded to twice the widest vector
    auto sum0 = hn::Zero(d);
    auto sum1 = hn::Zero(d);
    for (std::size_t k = 0; k < taps; ++k) {
      const auto weight = hn::Set(d, weights[k]);
      sum0 = hn::SaturatedAdd(sum0, hn::MulFixedPoint15(hn::LoadU(d, rows[k] + i), weight));
      sum1 = hn::SaturatedAdd(sum1, hn::MulFixedPoint15(hn::LoadU(d, rows[k] + i + lanes), weight));
    }
    hn::StoreU(sum0, d, out + i);
    hn::StoreU(sum1, d, out + i + lanes);
  }
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void Transpose8(const std::int16_t* HWY_RESTRICT in, std::size_t in_stride, std::int16_t* HWY_RESTRICT out,
                           std::size_t out_stride) {
  for (std::size_t r = 0; r < 8; ++r) {
    for (std::size_t c = 0; c < 8; ++c) out[c * out_stride + r] = in[r * in_stride + c];
  }
}
#else
/// An 8x8 block, rows to columns: three rounds of interleaving.
HWY_INLINE void Transpose8(const std::int16_t* HWY_RESTRICT in, std::size_t in_stride, std::int16_t* HWY_RESTRICT out,
                           std::size_t out_stride) {
  const hn::Full128<std::int16_t> d;
  const hn::Full128<std::int32_t> d32;
  const hn::Full128<std::int64_t> d64;
  const auto load = [&](std::size_t r) { return hn::LoadU(d, in + r * in_stride); };
  const auto r0 = load(0);
  const auto r1 = load(1);
  const auto r2 = load(2);
  const auto r3 = load(3);
  const auto r4 = load(4);
  const auto r5 = load(5);
  const auto r6 = load(6);
  const auto r7 = load(7);
  const auto low = [&](auto a, auto b) { return hn::BitCast(d32, hn::InterleaveLower(d, a, b)); };
  const auto high = [&](auto a, auto b) { return hn::BitCast(d32, hn::InterleaveUpper(d, a, b)); };
  const auto a0 = low(r0, r1);
  const auto a1 = high(r0, r1);
  const auto a2 = low(r2, r3);
  const auto a3 = high(r2, r3);
  const auto a4 = low(r4, r5);
  const auto a5 = high(r4, r5);
  const auto a6 = low(r6, r7);
  const auto a7 = high(r6, r7);
  const auto low32 = [&](auto a, auto b) { return hn::BitCast(d64, hn::InterleaveLower(d32, a, b)); };
  const auto high32 = [&](auto a, auto b) { return hn::BitCast(d64, hn::InterleaveUpper(d32, a, b)); };
  const auto b0 = low32(a0, a2);
  const auto b1 = high32(a0, a2);
  const auto b2 = low32(a1, a3);
  const auto b3 = high32(a1, a3);
  const auto b4 = low32(a4, a6);
  const auto b5 = high32(a4, a6);
  const auto b6 = low32(a5, a7);
  const auto b7 = high32(a5, a7);
  const auto store = [&](std::size_t r, auto v) { hn::StoreU(hn::BitCast(d, v), d, out + r * out_stride); };
  store(0, hn::InterleaveLower(d64, b0, b4));
  store(1, hn::InterleaveUpper(d64, b0, b4));
  store(2, hn::InterleaveLower(d64, b1, b5));
  store(3, hn::InterleaveUpper(d64, b1, b5));
  store(4, hn::InterleaveLower(d64, b2, b6));
  store(5, hn::InterleaveUpper(d64, b2, b6));
  store(6, hn::InterleaveLower(d64, b3, b7));
  store(7, hn::InterleaveUpper(d64, b3, b7));
}
#endif

void ToStrip(const std::int16_t* rows, std::size_t row_stride, std::size_t n, std::int16_t* strip) {
  for (std::size_t i = 0; i < n; i += 8) {
    Transpose8(rows + i, row_stride, strip + i * kStrip, kStrip);
    Transpose8(rows + 8 * row_stride + i, row_stride, strip + i * kStrip + 8, kStrip);
  }
}

void FromStrip(const std::int16_t* strip, std::size_t n, std::int16_t* rows, std::size_t row_stride) {
  for (std::size_t i = 0; i < n; i += 8) {
    Transpose8(strip + i * kStrip, kStrip, rows + i, row_stride);
    Transpose8(strip + i * kStrip + 8, kStrip, rows + 8 * row_stride + i, row_stride);
  }
}

template <std::size_t kChannels>
HWY_INLINE void BlendColumnsOf(const std::int16_t* HWY_RESTRICT strip, const std::int16_t* HWY_RESTRICT weights,
                               std::size_t taps, std::int16_t* HWY_RESTRICT out) {
  const hn::CappedTag<std::int16_t, kStrip> d;
  for (std::size_t r = 0; r < kStrip; r += hn::Lanes(d)) {
    auto sum0 = hn::Zero(d);
    auto sum1 = hn::Zero(d);
    auto sum2 = hn::Zero(d);
    auto sum3 = hn::Zero(d);
    const std::int16_t* at = strip + r;
    for (std::size_t k = 0; k < taps; ++k) {
      const auto weight = hn::Set(d, weights[k]);
      sum0 = hn::SaturatedAdd(sum0, hn::MulFixedPoint15(hn::LoadU(d, at), weight));
      if constexpr (kChannels > 1)
        sum1 = hn::SaturatedAdd(sum1, hn::MulFixedPoint15(hn::LoadU(d, at + kStrip), weight));
      if constexpr (kChannels > 2)
        sum2 = hn::SaturatedAdd(sum2, hn::MulFixedPoint15(hn::LoadU(d, at + 2 * kStrip), weight));
      if constexpr (kChannels > 3)
        sum3 = hn::SaturatedAdd(sum3, hn::MulFixedPoint15(hn::LoadU(d, at + 3 * kStrip), weight));
      at += kChannels * kStrip;
    }
    hn::StoreU(sum0, d, out + r);
    if constexpr (kChannels > 1) hn::StoreU(sum1, d, out + kStrip + r);
    if constexpr (kChannels > 2) hn::StoreU(sum2, d, out + 2 * kStrip + r);
    if constexpr (kChannels > 3) hn::StoreU(sum3, d, out + 3 * kStrip + r);
  }
}

void BlendColumns(const std::int16_t* strip, const std::int16_t* weights, std::size_t taps, std::size_t channels,
                  std::int16_t* out) {
  switch (channels) {
    case 1:
      return BlendColumnsOf<1>(strip, weights, taps, out);
    case 2:
      return BlendColumnsOf<2>(strip, weights, taps, out);
    case 3:
      return BlendColumnsOf<3>(strip, weights, taps, out);
    default:
      return BlendColumnsOf<4>(strip, weights, taps, out);
  }
}

void Narrow(const std::int16_t* HWY_RESTRICT in, std::size_t n, int bits, std::uint8_t* HWY_RESTRICT out) {
  const Samples d;
  const hn::Rebind<std::uint8_t, Samples> d8;
  const std::size_t lanes = hn::Lanes(d);
  const int half = 1 << (bits - 1);
  const auto halves = hn::Set(d, static_cast<std::int16_t>(half));
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto value = hn::ShiftRightSame(hn::SaturatedAdd(hn::LoadU(d, in + i), halves), bits);
    hn::StoreU(hn::DemoteTo(d8, value), d8, out + i);
  }
  for (; i < n; ++i) out[i] = static_cast<std::uint8_t>(std::clamp((in[i] + half) >> bits, 0, 255));
}

void NarrowUnpremultiplied(const std::int16_t* HWY_RESTRICT in, std::size_t pixels, std::size_t channels, int bits,
                           std::uint8_t* HWY_RESTRICT out) {
  for (std::size_t p = 0; p < pixels; ++p) {
    const int wide_alpha = in[channels - 1];
    const int alpha = std::clamp((wide_alpha + (1 << (bits - 1))) >> bits, 0, 255);
    const float scale = wide_alpha > 0 ? 255.0F / static_cast<float>(wide_alpha) : 0.0F;
    for (std::size_t c = 0; c + 1 < channels; ++c) {
      const float value = static_cast<float>(in[c]) * scale + 0.5F;
      out[c] = alpha == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F));
    }
    out[channels - 1] = static_cast<std::uint8_t>(alpha);
    in += channels;
    out += channels;
  }
}

const char* TargetName() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace offloop::image::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace offloop::image::simd {

HWY_EXPORT(Widen);
HWY_EXPORT(WidenPremultiplied);
HWY_EXPORT(AddRow);
HWY_EXPORT(BlendRows);
HWY_EXPORT(ToStrip);
HWY_EXPORT(FromStrip);
HWY_EXPORT(BlendColumns);
HWY_EXPORT(Narrow);
HWY_EXPORT(NarrowUnpremultiplied);
HWY_EXPORT(TargetName);

void widen(const std::uint8_t* in, std::size_t n, std::int16_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(Widen)(in, n, out);
}
void widen_premultiplied(const std::uint8_t* in, std::size_t pixels, std::size_t channels, std::int16_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(WidenPremultiplied)(in, pixels, channels, out);
}
void add_row(const std::int16_t* row, std::size_t n, std::int32_t* sums) noexcept {
  HWY_DYNAMIC_DISPATCH(AddRow)(row, n, sums);
}
void blend_rows(const std::int16_t* const* rows, const std::int16_t* weights, std::size_t taps, std::size_t n,
                std::int16_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(BlendRows)(rows, weights, taps, n, out);
}
void to_strip(const std::int16_t* rows, std::size_t row_stride, std::size_t n, std::int16_t* strip) noexcept {
  HWY_DYNAMIC_DISPATCH(ToStrip)(rows, row_stride, n, strip);
}
void from_strip(const std::int16_t* strip, std::size_t n, std::int16_t* rows, std::size_t row_stride) noexcept {
  HWY_DYNAMIC_DISPATCH(FromStrip)(strip, n, rows, row_stride);
}
void blend_columns(const std::int16_t* strip, const std::int16_t* weights, std::size_t taps, std::size_t channels,
                   std::int16_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(BlendColumns)(strip, weights, taps, channels, out);
}
void narrow(const std::int16_t* in, std::size_t n, int bits, std::uint8_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(Narrow)(in, n, bits, out);
}
void narrow_unpremultiplied(const std::int16_t* in, std::size_t pixels, std::size_t channels, int bits,
                            std::uint8_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(NarrowUnpremultiplied)(in, pixels, channels, bits, out);
}
const char* target_name() noexcept {
  return HWY_DYNAMIC_DISPATCH(TargetName)();
}

}  // namespace offloop::image::simd
#endif
