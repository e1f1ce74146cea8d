#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "image/resample_simd.h"

namespace offloop::image {
namespace {

using simd::kStrip;
using Samples = std::vector<std::int16_t>;

// Above this, boxes come first: they leave the kernel a scale of 4 to 8, which is where libvips draws the line, too (its "gap").
constexpr double kBoxFrom = 8;
constexpr double kBoxLeaves = 4;

/// How many source samples are averaged before the kernel.
int box_of(const Axis& axis, Kernel kernel) noexcept {
  if (kernel == Kernel::kNearest || axis.scale <= kBoxFrom) return 1;
  return static_cast<int>(axis.scale / kBoxLeaves);
}

/// The same axis over boxes, the first of which begins at `low`.
Axis over_boxes(Axis axis, int box) noexcept {
  axis.offset = (axis.offset - axis.low) / box;
  axis.scale /= box;
  axis.high = (axis.high - axis.low + box - 1) / box;
  axis.low = 0;
  return axis;
}

}  // namespace

struct PlaneResampler::Impl {
  Impl(const Axis& x_axis, const Axis& y_axis, Kernel kernel, bool has_alpha, Plane& plane);

  void push(const std::uint8_t* row) noexcept;
  void take(std::size_t slot) noexcept;
  void add_to_box(const std::int16_t* row) noexcept;
  void close_box() noexcept;
  void emit() noexcept;
  void across(int rows) noexcept;
  void copy(const std::uint8_t* row) noexcept;

  Plane& out;
  const std::size_t channels;
  const bool alpha;
  const bool copies;  ///< neither axis is resampled
  const bool across_copies;
  const int copied_row;          ///< copies: the source row that is the result's first
  const std::size_t copied_col;  ///< across_copies: of the samples on their way, the result's first

  const int first_row, last_row;        ///< source rows that are looked at
  const std::size_t first_col, columns;  ///< source columns that are looked at
  const int box_x, box_y;
  Weights down, along;  ///< over the samples of first_row.., first_col.., or over boxes of them

  std::size_t width;       ///< samples (not pixels) of a row on its way
  std::size_t row_length;  ///< padded
  int source_row = 0;      ///< of the next push
  int ring_rows = 0;       ///< rows on their way that have been made
  int ring_size = 1;
  Samples ring;
  Samples wide;                    ///< a source row before its box
  std::vector<std::int32_t> sums;  ///< of the box's rows
  int in_box = 0;
  std::vector<const std::int16_t*> taps;

  Samples rows;  ///< up to 16 rows that are done in their height
  Samples strip, out_strip, out_rows;
  int done = 0;  ///< rows of `out`, those in `rows` included
};

namespace {

Axis moved(Axis axis, int by) noexcept {
  axis.offset -= by;
  axis.low -= by;
  axis.high -= by;
  return axis;
}

struct Reach {
  int first = 0;
  int last = 0;
};

/// Which source samples have any weight: without boxes a kernel reaches only so far.
Reach reach_of(const Axis& axis, Kernel kernel) noexcept {
  if (box_of(axis, kernel) > 1) return {axis.low, axis.high};
  const double reach = kernel_support(kernel) * std::max(axis.scale, 1.0) + 1;
  const double from = axis.offset + axis.scale / 2 - reach;
  const double to = axis.offset + (axis.size - 0.5) * axis.scale + reach;
  const int first = std::clamp(static_cast<int>(std::floor(from)), axis.low, axis.high - 1);
  return {first, std::clamp(static_cast<int>(std::ceil(to)), first + 1, axis.high)};
}

Weights weights_of(const Axis& axis, Kernel kernel, Reach reach, int box) {
  if (box > 1) return make_weights(over_boxes(axis, box), kernel);
  return make_weights(moved(axis, reach.first), kernel);
}

}  // namespace

PlaneResampler::Impl::Impl(const Axis& x_axis, const Axis& y_axis, Kernel kernel, bool has_alpha, Plane& plane)
    : out(plane),
      channels(static_cast<std::size_t>(plane.channels)),
      alpha(has_alpha),
      copies(x_axis.copies() && y_axis.copies()),
      across_copies(x_axis.copies()),
      copied_row(static_cast<int>(y_axis.offset)),
      copied_col(static_cast<std::size_t>(static_cast<int>(x_axis.offset) - reach_of(x_axis, kernel).first)),
      first_row(reach_of(y_axis, kernel).first),
      last_row(reach_of(y_axis, kernel).last),
      first_col(static_cast<std::size_t>(reach_of(x_axis, kernel).first)),
      columns(static_cast<std::size_t>(reach_of(x_axis, kernel).last) - first_col),
      box_x(box_of(x_axis, kernel)),
      box_y(box_of(y_axis, kernel)),
      down(weights_of(y_axis, kernel, reach_of(y_axis, kernel), box_y)),
      along(weights_of(x_axis, kernel, reach_of(x_axis, kernel), box_x)) {
  if (copies) return;
  width = (columns + static_cast<std::size_t>(box_x) - 1) / static_cast<std::size_t>(box_x) * channels;
  row_length = simd::padded(width);
  ring_size = down.most + 1;
  ring.resize(static_cast<std::size_t>(ring_size) * row_length);
  taps.resize(static_cast<std::size_t>(down.most));
  if (box_x > 1 || box_y > 1) {
    wide.resize(simd::padded(columns * channels));
    sums.resize(wide.size());
  }
  rows.resize(kStrip * row_length);
  if (!across_copies) {
    strip.resize(row_length * kStrip);
    out_strip.resize(simd::padded(static_cast<std::size_t>(out.width) * channels) * kStrip);
  }
  out_rows.resize(kStrip * simd::padded(static_cast<std::size_t>(out.width) * channels));
}

void PlaneResampler::Impl::push(const std::uint8_t* row) noexcept {
  const int y = source_row++;
  if (y < first_row || y >= last_row || done >= out.height) return;
  if (copies) return y < copied_row ? void() : copy(row);
  const std::uint8_t* from = row + first_col * channels;
  const bool boxes = box_x > 1 || box_y > 1;
  std::int16_t* to = boxes ? wide.data() : ring.data() + static_cast<std::size_t>(ring_rows % ring_size) * row_length;
  if (alpha) {
    simd::widen_premultiplied(from, columns, channels, to);
  } else {
    simd::widen(from, columns * channels, to);
  }
  if (boxes) {
    add_to_box(to);
    if (in_box < box_y && y + 1 < last_row) return;
    close_box();
  }
  ++ring_rows;
  emit();
}

void PlaneResampler::Impl::copy(const std::uint8_t* row) noexcept {
  std::memcpy(out.row(done), row + (first_col + copied_col) * channels, static_cast<std::size_t>(out.width) * channels);
  ++done;
}

void PlaneResampler::Impl::add_to_box(const std::int16_t* row) noexcept {
  if (in_box++ == 0) std::fill(sums.begin(), sums.end(), 0);
  simd::add_row(row, sums.size(), sums.data());
}

void PlaneResampler::Impl::close_box() noexcept {
  std::int16_t* to = ring.data() + static_cast<std::size_t>(ring_rows % ring_size) * row_length;
  const auto step = static_cast<std::size_t>(box_x);
  for (std::size_t begin = 0; begin < columns; begin += step) {
    const std::size_t end = std::min(begin + step, columns);
    const auto count = static_cast<std::int64_t>(end - begin) * in_box;
    for (std::size_t c = 0; c < channels; ++c) {
      std::int64_t sum = count / 2;
      for (std::size_t i = begin; i < end; ++i) sum += sums[i * channels + c];
      *to++ = static_cast<std::int16_t>(sum / count);
    }
  }
  in_box = 0;
}

/// Every row of the result whose last source row has come.
void PlaneResampler::Impl::emit() noexcept {
  while (done < out.height) {
    const Weights::Span& span = down.spans[static_cast<std::size_t>(done)];
    if (span.first + span.count > ring_rows) return;
    for (int k = 0; k < span.count; ++k)
      taps[static_cast<std::size_t>(k)] =
          ring.data() + static_cast<std::size_t>((span.first + k) % ring_size) * row_length;
    const int row = done % static_cast<int>(kStrip);
    simd::blend_rows(taps.data(), down.of(span), static_cast<std::size_t>(span.count), row_length,
                     rows.data() + static_cast<std::size_t>(row) * row_length);
    ++done;
    if (row + 1 == static_cast<int>(kStrip) || done == out.height) across(row + 1);
  }
}

void PlaneResampler::Impl::across(int count) noexcept {
  const std::size_t length = static_cast<std::size_t>(out.width) * channels;
  const std::int16_t* from = rows.data();
  std::size_t from_stride = row_length;
  if (across_copies) {
    from += copied_col * channels;
  } else {
    simd::to_strip(rows.data(), row_length, (width + 7) / 8 * 8, strip.data());
    std::int16_t* to = out_strip.data();
    for (const Weights::Span& span : along.spans) {
      simd::blend_columns(strip.data() + static_cast<std::size_t>(span.first) * channels * kStrip, along.of(span),
                          static_cast<std::size_t>(span.count), channels, to);
      to += channels * kStrip;
    }
    from_stride = simd::padded(length);
    simd::from_strip(out_strip.data(), (length + 7) / 8 * 8, out_rows.data(), from_stride);
    from = out_rows.data();
  }
  const int bits = simd::kSampleBits - (across_copies ? 1 : 2);  // a blend down, and one across
  for (int r = 0; r < count; ++r) {
    std::uint8_t* to = out.row(done - count + r);
    if (alpha) {
      simd::narrow_unpremultiplied(from, static_cast<std::size_t>(out.width), channels, bits, to);
    } else {
      simd::narrow(from, length, bits, to);
    }
    from += from_stride;
  }
}

PlaneResampler::PlaneResampler(const Axis& x, const Axis& y, Kernel kernel, bool alpha, Plane& out)
    : impl_(std::make_unique<Impl>(x, y, kernel, alpha, out)) {}
PlaneResampler::~PlaneResampler() = default;
PlaneResampler::PlaneResampler(PlaneResampler&&) noexcept = default;

void PlaneResampler::push(const std::uint8_t* row) noexcept {
  impl_->push(row);
}
bool PlaneResampler::full() const noexcept {
  return impl_->done >= impl_->out.height;
}

}  // namespace offloop::image
