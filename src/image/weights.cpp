#include "image/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

namespace offloop::image {
namespace {

/// sin(a), sin(a + step), sin(a + 2 step) ... by rotation: two multiplications instead of a sine each. The error grows
/// with the number of steps, which a kernel keeps below a hundred.
class Sines {
 public:
  Sines(double a, double step) noexcept
      : sine_(std::sin(a)), cosine_(std::cos(a)), step_sine_(std::sin(step)), step_cosine_(std::cos(step)) {}
  double next() noexcept {
    const double now = sine_;
    sine_ = now * step_cosine_ + cosine_ * step_sine_;
    cosine_ = cosine_ * step_cosine_ - now * step_sine_;
    return now;
  }

 private:
  double sine_, cosine_;
  const double step_sine_, step_cosine_;
};

/// sinc(x) * sinc(x / lobes) at x, x + step, ...
void append_lanczos(double x, double step, int count, double lobes, std::vector<double>& out) {
  constexpr double kPi = std::numbers::pi;
  Sines narrow(kPi * x, kPi * step);
  Sines wide(kPi * x / lobes, kPi * step / lobes);
  for (int k = 0; k < count; ++k, x += step) {
    const double product = narrow.next() * wide.next();
    const double inside = std::abs(x) < 1e-6 ? 1 : lobes * product / (kPi * kPi * x * x);
    out.push_back(std::abs(x) < lobes ? inside : 0);
  }
}

/// Mitchell and Netravali, Reconstruction Filters in Computer Graphics, 1988: (0, 1/2) is Catmull-Rom, (1/3, 1/3)
/// theirs.
double cubic(double x, double b, double c) noexcept {
  x = std::abs(x);
  if (x < 1) return ((12 - 9 * b - 6 * c) * x * x * x + (-18 + 12 * b + 6 * c) * x * x + (6 - 2 * b)) / 6;
  if (x < 2) {
    return ((-b - 6 * c) * x * x * x + (6 * b + 30 * c) * x * x + (-12 * b - 48 * c) * x + (8 * b + 24 * c)) / 6;
  }
  return 0;
}

double kernel_at(Kernel kernel, double x) noexcept {
  switch (kernel) {
    case Kernel::kLinear:
      return std::max(0.0, 1 - std::abs(x));
    case Kernel::kCubic:
      return cubic(x, 0, 0.5);
    case Kernel::kMitchell:
      return cubic(x, 1.0 / 3, 1.0 / 3);
    default:
      return 0;  // the others have ways of their own
  }
}

/// What the source samples from `first` on count for the result's sample `i`; where they begin is given back.
int weigh(const Axis& axis, Kernel kernel, int i, std::vector<double>& out) {
  out.clear();
  const double from = axis.offset + i * axis.scale;
  const double centre = from + axis.scale / 2;
  if (kernel == Kernel::kNearest || (kernel == Kernel::kArea && axis.scale <= 1)) {
    out.push_back(1);
    return std::clamp(static_cast<int>(std::floor(centre)), axis.low, axis.high - 1);
  }
  if (kernel == Kernel::kArea) {
    const double to = from + axis.scale;
    const int first = std::clamp(static_cast<int>(std::floor(from)), axis.low, axis.high - 1);
    const int last = std::clamp(static_cast<int>(std::ceil(to)), first + 1, axis.high);
    for (int j = first; j < last; ++j) out.push_back(std::max(0.0, std::min(to, j + 1.0) - std::max<double>(from, j)));
    return first;
  }
  const double stretch = std::max(axis.scale, 1.0);
  const double reach = kernel_support(kernel) * stretch;
  const int first = std::clamp(static_cast<int>(std::floor(centre - reach)), axis.low, axis.high - 1);
  const int last = std::clamp(static_cast<int>(std::ceil(centre + reach)), first + 1, axis.high);
  if (kernel == Kernel::kLanczos2 || kernel == Kernel::kLanczos3) {
    append_lanczos((first + 0.5 - centre) / stretch, 1 / stretch, last - first, kernel == Kernel::kLanczos3 ? 3 : 2,
                   out);
    return first;
  }
  for (int j = first; j < last; ++j) out.push_back(kernel_at(kernel, (j + 0.5 - centre) / stretch));
  return first;
}

}  // namespace

double kernel_support(Kernel kernel) noexcept {
  switch (kernel) {
    case Kernel::kNearest:
    case Kernel::kArea:
      return 0.5;
    case Kernel::kLinear:
      return 1;
    case Kernel::kCubic:
    case Kernel::kMitchell:
    case Kernel::kLanczos2:
      return 2;
    case Kernel::kLanczos3:
      return 3;
  }
  return 3;
}

Weights make_weights(const Axis& axis, Kernel kernel, double last) {
  Weights weights;
  weights.spans.reserve(static_cast<std::size_t>(axis.size));
  std::vector<double> exact;
  std::vector<std::int16_t> rounded;
  for (int i = 0; i < axis.size; ++i) {
    int first = weigh(axis, kernel, i, exact);
    // An area's share of the last sample ends where the picture does.
    if (kernel != Kernel::kArea && first + static_cast<int>(exact.size()) == axis.high) exact.back() *= last;
    double sum = 0;
    for (const double w : exact) sum += w;
    if (sum <= 0) {  // a window that lies beyond the edge by rounding
      exact.assign(1, 1);
      first = std::clamp(static_cast<int>(axis.offset + (i + 0.5) * axis.scale), axis.low, axis.high - 1);
      sum = 1;
    }
    rounded.clear();
    int total = 0;
    std::size_t largest = 0;
    for (std::size_t k = 0; k < exact.size(); ++k) {
      const auto value = static_cast<int>(std::lrint(exact[k] / sum * kWeightOne));
      rounded.push_back(static_cast<std::int16_t>(std::clamp(value, -32767, 32767)));
      total += rounded.back();
      if (rounded[k] > rounded[largest]) largest = k;
    }
    rounded[largest] = static_cast<std::int16_t>(std::min(32767, rounded[largest] + kWeightOne - total));
    std::size_t begin = 0;
    std::size_t end = rounded.size();
    while (end - begin > 1 && rounded[end - 1] == 0) --end;
    while (end - begin > 1 && rounded[begin] == 0) ++begin;
    const Weights::Span span{first + static_cast<int>(begin), static_cast<int>(end - begin), weights.values.size()};
    weights.values.insert(weights.values.end(), rounded.begin() + static_cast<std::ptrdiff_t>(begin),
                          rounded.begin() + static_cast<std::ptrdiff_t>(end));
    weights.most = std::max(weights.most, span.count);
    weights.spans.push_back(span);
  }
  return weights;
}

}  // namespace offloop::image
