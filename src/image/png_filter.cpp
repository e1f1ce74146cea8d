#include "image/png_filter.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__SSE2__)  // every x86-64 has it: no dispatch is needed
#include <emmintrin.h>
#endif

namespace offloop::image::png {
namespace {

constexpr std::size_t kZeros = 8;

/// Which of left, above and above-left is nearest to left + above - above_left. The specification compares three
/// distances; the same choice follows from where t = 3 * above_left - left - above lies: below the smaller of left and
/// above, over the greater, or between.
int paeth(int left, int above, int above_left) noexcept {
  const int t = 3 * above_left - left - above;
  const int low = std::min(left, above);
  const int high = std::max(left, above);
  return t <= low ? high : t >= high ? low : above_left;
}

#if defined(__SSE2__)

template <int kStep>
__m128i load(const std::uint8_t* p) noexcept {
  std::int32_t four = 0;
  std::memcpy(&four, p, 4);  // for 3 bytes one too many is read, and never looked at
  return _mm_cvtsi32_si128(four);
}

template <int kStep>
void store(std::uint8_t* p, __m128i pixel) noexcept {
  const std::int32_t four = _mm_cvtsi128_si32(pixel);
  std::memcpy(p, &four, kStep);
}

template <int kStep>
void undo_sub(std::uint8_t* row, std::size_t bytes) noexcept {
  __m128i left = _mm_setzero_si128();
  for (std::size_t i = 0; i < bytes; i += kStep) {
    left = _mm_add_epi8(left, load<kStep>(row + i));
    store<kStep>(row + i, left);
  }
}

/// paeth() of eight at once.
__m128i nearest_of(__m128i left, __m128i up, __m128i above_left) noexcept {
  const __m128i thrice = _mm_add_epi16(above_left, _mm_add_epi16(above_left, above_left));
  const __m128i t = _mm_sub_epi16(_mm_sub_epi16(thrice, up), left);
  const __m128i low = _mm_min_epi16(left, up);
  const __m128i high = _mm_max_epi16(left, up);
  const __m128i above_low = _mm_cmpgt_epi16(t, low);
  const __m128i below_high = _mm_cmpgt_epi16(high, t);
  const __m128i not_high = _mm_or_si128(_mm_and_si128(below_high, above_left), _mm_andnot_si128(below_high, low));
  return _mm_or_si128(_mm_and_si128(above_low, not_high), _mm_andnot_si128(above_low, high));
}

/// The instruction rounds up, PNG rounds down.
__m128i average_of(__m128i left, __m128i up) noexcept {
  return _mm_sub_epi8(_mm_avg_epu8(left, up), _mm_and_si128(_mm_xor_si128(left, up), _mm_set1_epi8(1)));
}

template <int kStep>
void undo_average(std::uint8_t* row, const std::uint8_t* above, std::size_t bytes) noexcept {
  __m128i left = _mm_setzero_si128();
  for (std::size_t i = 0; i < bytes; i += kStep) {
    left = _mm_add_epi8(load<kStep>(row + i), average_of(left, load<kStep>(above + i)));
    store<kStep>(row + i, left);
  }
}

/// One pixel after the other: what counts is how many instructions stand between one `left` and the next.
template <int kStep>
void undo_paeth(std::uint8_t* row, const std::uint8_t* above, std::size_t bytes) noexcept {
  const __m128i zero = _mm_setzero_si128();
  __m128i left = zero;
  __m128i above_left = zero;
  for (std::size_t i = 0; i < bytes; i += kStep) {
    const __m128i up = _mm_unpacklo_epi8(load<kStep>(above + i), zero);
    const __m128i raw = _mm_unpacklo_epi8(load<kStep>(row + i), zero);
    left = _mm_add_epi8(raw, nearest_of(left, up, above_left));  // the upper bytes are zero: no carry
    above_left = up;
    store<kStep>(row + i, _mm_packus_epi16(left, left));
  }
}

#endif

// For pixels of 1 or 2 bytes, and for other CPUs.
void undo_serial(std::uint8_t filter, std::uint8_t* row, const std::uint8_t* above, std::size_t bytes,
                 std::size_t step) noexcept {
  for (std::size_t i = 0; i < bytes; ++i) {
    const int left = i < step ? 0 : row[i - step];
    const int above_left = i < step ? 0 : above[i - step];
    int predicted = left;
    if (filter == kAverage) predicted = (left + above[i]) / 2;
    if (filter == kPaeth) predicted = paeth(left, above[i], above_left);
    row[i] = static_cast<std::uint8_t>(row[i] + predicted);
  }
}

template <int kStep>
void undo_pixels(std::uint8_t filter, std::uint8_t* row, const std::uint8_t* above, std::size_t bytes) noexcept {
#if defined(__SSE2__)
  if (filter == kSub) return undo_sub<kStep>(row, bytes);
  if (filter == kAverage) return undo_average<kStep>(row, above, bytes);
  undo_paeth<kStep>(row, above, bytes);
#else
  undo_serial(filter, row, above, bytes, kStep);
#endif
}

/// A row and its neighbours; what is left of the first pixel may be read.
struct Neighbours {
  const std::uint8_t* now;
  const std::uint8_t* left;
  const std::uint8_t* above;
  const std::uint8_t* above_left;
};

/// Of one way to filter: the bytes so far, and the sum of them as signed numbers without their sign.
struct Candidate {
  std::uint8_t* bytes;
  std::uint64_t cost;
};

/// Filters in all five ways from byte `begin` to `end`.
void try_bytes(const Neighbours& n, std::size_t begin, std::size_t end, std::array<Candidate, 5>& tried) noexcept {
  for (std::size_t i = begin; i < end; ++i) {
    const int predicted[] = {0, n.left[i], n.above[i], (n.left[i] + n.above[i]) / 2,
                             paeth(n.left[i], n.above[i], n.above_left[i])};
    for (std::size_t f = 0; f < tried.size(); ++f) {
      const auto value = static_cast<std::uint8_t>(n.now[i] - predicted[f]);
      tried[f].bytes[i] = value;
      tried[f].cost += std::min<unsigned>(value, 256U - value);
    }
  }
}

#if defined(__SSE2__)

/// As try_bytes() from 0 on, 16 at a time; returns how far it came.
std::size_t try_blocks(const Neighbours& n, std::size_t end, std::array<Candidate, 5>& tried) noexcept {
  const __m128i zero = _mm_setzero_si128();
  __m128i sums[5] = {zero, zero, zero, zero, zero};
  const auto at = [](const std::uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); };
  std::size_t i = 0;
  for (; i + 16 <= end; i += 16) {
    const __m128i now = at(n.now + i), left = at(n.left + i), above = at(n.above + i), corner = at(n.above_left + i);
    const __m128i nearest = _mm_packus_epi16(
        nearest_of(_mm_unpacklo_epi8(left, zero), _mm_unpacklo_epi8(above, zero), _mm_unpacklo_epi8(corner, zero)),
        nearest_of(_mm_unpackhi_epi8(left, zero), _mm_unpackhi_epi8(above, zero), _mm_unpackhi_epi8(corner, zero)));
    const __m128i predicted[] = {zero, left, above, average_of(left, above), nearest};
    for (std::size_t f = 0; f < tried.size(); ++f) {
      const __m128i value = _mm_sub_epi8(now, predicted[f]);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(tried[f].bytes + i), value);
      const __m128i size = _mm_min_epu8(value, _mm_sub_epi8(zero, value));
      sums[f] = _mm_add_epi64(sums[f], _mm_sad_epu8(size, zero));
    }
  }
  for (std::size_t f = 0; f < tried.size(); ++f) {
    std::uint64_t halves[2];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(halves), sums[f]);
    tried[f].cost += halves[0] + halves[1];
  }
  return i;
}

#else

std::size_t try_blocks(const Neighbours& n, std::size_t end, std::array<Candidate, 5>& tried) noexcept {
  (void)n, (void)end, (void)tried;
  return 0;
}

#endif

}  // namespace

bool undo_filter(std::uint8_t filter, std::uint8_t* row, const std::uint8_t* above, std::size_t bytes,
                 int step) noexcept {
  if (filter == kNone) return true;
  if (filter > kPaeth) return false;
  if (filter == kUp) {
    for (std::size_t i = 0; i < bytes; ++i) row[i] = static_cast<std::uint8_t>(row[i] + above[i]);
    return true;
  }
  if (step == 4) {
    undo_pixels<4>(filter, row, above, bytes);
  } else if (step == 3) {
    undo_pixels<3>(filter, row, above, bytes);
  } else {
    undo_serial(filter, row, above, bytes, static_cast<std::size_t>(step));
  }
  return true;
}

FilterChooser::FilterChooser(std::size_t most_bytes, int step)
    : step_(static_cast<std::size_t>(step)), size_(most_bytes + kZeros), lines_(7 * size_) {}

void FilterChooser::restart() noexcept {
  std::fill(lines_.begin(), lines_.end(), std::uint8_t{0});
}

const std::uint8_t* FilterChooser::choose(const std::uint8_t* row, std::size_t bytes) noexcept {
  // Lines begin with zeros, so that what is left of the first pixel need not be asked for.
  std::uint8_t* now = lines_.data() + (odd_ ? size_ : 0) + kZeros;
  const std::uint8_t* above = lines_.data() + (odd_ ? 0 : size_) + kZeros;
  odd_ = !odd_;
  std::memcpy(now, row, bytes);
  std::array<Candidate, 5> tried{};
  for (std::size_t f = 0; f < tried.size(); ++f) tried[f].bytes = lines_.data() + (2 + f) * size_ + kZeros;
  const Neighbours neighbours{now, now - step_, above, above - step_};
  try_bytes(neighbours, try_blocks(neighbours, bytes, tried), bytes, tried);
  std::size_t best = kNone;
  for (std::size_t f = 1; f < tried.size(); ++f) {
    if (tried[f].cost < tried[best].cost) best = f;
  }
  tried[best].bytes[-1] = static_cast<std::uint8_t>(best);
  return tried[best].bytes - 1;
}

}  // namespace offloop::image::png
