#include "image/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

namespace offloop::image {
namespace {

/// sinc(x) * sinc(x / lobes) at equal steps. One sine and one cosine of the wider period a window: the next ones come
/// by rotation (the error grows with the number of steps, which a kernel keeps below a hundred), and the narrower
/// period's are sin(2a) = 2 sin(a) cos(a) and sin(3a) = 3 sin(a) - 4 sin(a)^3.
class Lanczos {
 public:
  Lanczos(int lobes, double step) noexcept
      : lobes_(lobes),
        step_(step),
        step_sine_(std::sin(kPi * step / lobes)),
        step_cosine_(std::cos(kPi * step / lobes)) {}

  void append(double x, int count, std::vector<double>& out) const {
    double sine = std::sin(kPi * x / lobes_);
    double cosine = std::cos(kPi * x / lobes_);
    for (int k = 0; k < count; ++k, x += step_) {
      const double narrow = lobes_ == 3 ? sine * (3 - 4 * sine * sine) : 2 * sine * cosine;
      const double inside = std::abs(x) < 1e-6 ? 1 : lobes_ * narrow * sine / (kPi * kPi * x * x);
      out.push_back(std::abs(x) < lobes_ ? inside : 0);
      const double now = sine;
      sine = now * step_cosine_ + cosine * step_sine_;
      cosine = cosine * step_cosine_ - now * step_sine_;
    }
  }

 private:
  static constexpr double kPi = std::numbers::pi;
  const int lobes_;
  const double step_, step_sine_, step_cosine_;
};

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
int weigh(const Axis& axis, Kernel kernel, const Lanczos& lanczos, int i, std::vector<double>& out) {
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
    lanczos.append((first + 0.5 - centre) / stretch, last - first, out);
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
  const Lanczos lanczos(kernel == Kernel::kLanczos2 ? 2 : 3, 1 / std::max(axis.scale, 1.0));
  for (int i = 0; i < axis.size; ++i) {
    int first = weigh(axis, kernel, lanczos, i, exact);
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
