#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "image/resample_simd.h"

namespace offloop::image {
namespace {

using simd::kStrip;
using Samples = std::vector<std::int16_t>;

// Above this, boxes come first: they leave the kernel a scale of 4 to 8, which is where libvips draws the line, too
// (its "gap").
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

/// How full the last box is.
double last_of(const Axis& axis, int box) noexcept {
  const int rest = (axis.high - axis.low) % box;
  return rest == 0 ? 1 : static_cast<double>(rest) / box;
}

/// Which source samples have any weight: without boxes a kernel reaches only so far.
void set_reach(PreparedAxis& prepared, Kernel kernel) noexcept {
  const Axis& axis = prepared.axis;
  prepared.first = axis.low;
  prepared.last = axis.high;
  if (prepared.box > 1) return;
  const double reach = kernel_support(kernel) * std::max(axis.scale, 1.0) + 1;
  const double from = axis.offset + axis.scale / 2 - reach;
  const double to = axis.offset + (axis.size - 0.5) * axis.scale + reach;
  prepared.first = std::clamp(static_cast<int>(std::floor(from)), axis.low, axis.high - 1);
  prepared.last = std::clamp(static_cast<int>(std::ceil(to)), prepared.first + 1, axis.high);
}

Axis moved(Axis axis, int by) noexcept {
  axis.offset -= by;
  axis.low -= by;
  axis.high -= by;
  return axis;
}

}  // namespace

PreparedAxis::PreparedAxis(const Axis& a, Kernel kernel) : axis(a), box(box_of(a, kernel)) {
  set_reach(*this, kernel);
  weights = box > 1 ? make_weights(over_boxes(axis, box), kernel, last_of(axis, box))
                    : make_weights(moved(axis, first), kernel);
}

struct PlaneResampler::Impl {
  Impl(std::shared_ptr<const PreparedAxis> x_axis, std::shared_ptr<const PreparedAxis> y_axis, bool has_alpha,
       Plane& plane);

  void push(const std::uint8_t* row) noexcept;
  void copy(const std::uint8_t* row) noexcept;
  void add_to_box(const std::int16_t* row) noexcept;
  void close_box() noexcept;
  void emit() noexcept;
  void across(int rows) noexcept;

  const std::shared_ptr<const PreparedAxis> x, y;
  Plane& out;
  const std::size_t channels;
  const bool alpha;
  const bool across_copies;
  const bool copies;             ///< neither axis is resampled
  const std::size_t copied_col;  ///< across_copies: of the samples on their way, the result's first
  const std::size_t columns;     ///< source columns that are looked at
  const bool boxes;

  std::size_t width = 0;       ///< samples (not pixels) of a row on its way
  std::size_t row_length = 0;  ///< padded
  int source_row = 0;          ///< of the next push
  int ring_rows = 0;           ///< rows on their way that have been made
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

PlaneResampler::Impl::Impl(std::shared_ptr<const PreparedAxis> x_axis, std::shared_ptr<const PreparedAxis> y_axis,
                           bool has_alpha, Plane& plane)
    : x(std::move(x_axis)),
      y(std::move(y_axis)),
      out(plane),
      channels(static_cast<std::size_t>(plane.channels)),
      alpha(has_alpha),
      across_copies(x->axis.copies()),
      copies(across_copies && y->axis.copies()),
      copied_col(static_cast<std::size_t>(static_cast<int>(x->axis.offset) - x->first)),
      columns(static_cast<std::size_t>(x->last - x->first)),
      boxes(x->box > 1 || y->box > 1) {
  if (copies) return;
  width = (columns + static_cast<std::size_t>(x->box) - 1) / static_cast<std::size_t>(x->box) * channels;
  row_length = simd::padded(width);
  ring_size = y->weights.most + 1;
  ring.resize(static_cast<std::size_t>(ring_size) * row_length);
  taps.resize(static_cast<std::size_t>(y->weights.most));
  if (boxes) {
    wide.resize(simd::padded(columns * channels));
    sums.resize(wide.size());
  }
  rows.resize(kStrip * row_length);
  if (across_copies) return;
  const std::size_t out_length = simd::padded(static_cast<std::size_t>(out.width) * channels);
  strip.resize(row_length * kStrip);
  out_strip.resize(out_length * kStrip);
  out_rows.resize(out_length * kStrip);
}

void PlaneResampler::Impl::push(const std::uint8_t* row) noexcept {
  const int now = source_row++;
  if (now < y->first || now >= y->last || done >= out.height) return;
  const std::uint8_t* from = row + static_cast<std::size_t>(x->first) * channels;
  if (copies) return now < static_cast<int>(y->axis.offset) ? void() : copy(from);
  std::int16_t* to = boxes ? wide.data() : ring.data() + static_cast<std::size_t>(ring_rows % ring_size) * row_length;
  if (alpha) {
    simd::widen_premultiplied(from, columns, channels, to);
  } else {
    simd::widen(from, columns * channels, to);
  }
  if (boxes) {
    add_to_box(to);
    if (in_box < y->box && now + 1 < y->last) return;
    close_box();
  }
  ++ring_rows;
  emit();
}

void PlaneResampler::Impl::copy(const std::uint8_t* row) noexcept {
  std::memcpy(out.row(done), row + copied_col * channels, static_cast<std::size_t>(out.width) * channels);
  ++done;
}

void PlaneResampler::Impl::add_to_box(const std::int16_t* row) noexcept {
  if (in_box++ == 0) std::fill(sums.begin(), sums.end(), 0);
  simd::add_row(row, sums.size(), sums.data());
}

void PlaneResampler::Impl::close_box() noexcept {
  std::int16_t* to = ring.data() + static_cast<std::size_t>(ring_rows % ring_size) * row_length;
  const auto step = static_cast<std::size_t>(x->box);
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
    const Weights::Span& span = y->weights.spans[static_cast<std::size_t>(done)];
    if (span.first + span.count > ring_rows) return;
    for (int k = 0; k < span.count; ++k)
      taps[static_cast<std::size_t>(k)] =
          ring.data() + static_cast<std::size_t>((span.first + k) % ring_size) * row_length;
    const int row = done % static_cast<int>(kStrip);
    simd::blend_rows(taps.data(), y->weights.of(span), static_cast<std::size_t>(span.count), row_length,
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
    for (const Weights::Span& span : x->weights.spans) {
      simd::blend_columns(strip.data() + static_cast<std::size_t>(span.first) * channels * kStrip, x->weights.of(span),
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

PlaneResampler::PlaneResampler(std::shared_ptr<const PreparedAxis> x, std::shared_ptr<const PreparedAxis> y, bool alpha,
                               Plane& out)
    : impl_(std::make_unique<Impl>(std::move(x), std::move(y), alpha, out)) {}
PlaneResampler::~PlaneResampler() = default;
PlaneResampler::PlaneResampler(PlaneResampler&&) noexcept = default;

void PlaneResampler::push(const std::uint8_t* row) noexcept {
  impl_->push(row);
}
bool PlaneResampler::full() const noexcept {
  return impl_->done >= impl_->out.height;
}

}  // namespace offloop::image
