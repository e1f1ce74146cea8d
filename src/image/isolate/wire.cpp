#include "image/isolate/wire.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace offloop::image::isolate {
namespace {

constexpr std::uint32_t kMagic = 0x69666f6f;  // "oofi"

enum class Kind : std::uint8_t { kRequest = 1, kHello = 2, kAnswer = 3 };

// Fields are named one by one below; structured bindings stop compiling when a struct gets another.

class Writer {
 public:
  explicit Writer(Kind kind) { put(kMagic), put(kWireVersion), put(kind); }

  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(&value);
    bytes_.insert(bytes_.end(), first, first + sizeof value);
  }
  void put(const std::string& text) {
    const auto n = static_cast<std::uint16_t>(std::min(text.size(), kMaxTextBytes));
    put(n);
    bytes_.insert(bytes_.end(), text.begin(), text.begin() + n);
  }
  std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
};

/// After a field that is not there or cannot be, ok() is false and everything else reads as nothing.
class Reader {
 public:
  Reader(ByteSpan message, Kind kind) : left_(message) {
    ok_ = number<std::uint32_t>() == kMagic && number<std::uint16_t>() == kWireVersion &&
          number<std::uint8_t>() == static_cast<std::uint8_t>(kind);
  }

  template <class T>
  requires std::is_integral_v<T> T number() {
    T value{};
    if (!ok_ || left_.size() < sizeof value) {
      ok_ = false;
      return T{};
    }
    std::memcpy(&value, left_.data(), sizeof value);
    left_ = left_.subspan(sizeof value);
    return value;
  }
  template <class T>
  requires std::is_integral_v<T> &&(!std::is_same_v<T, bool>)void get(T& field) { field = number<T>(); }
  void get(bool& field) { field = number_below<std::uint8_t>(2) != 0; }
  /// An enumerator from 0 to `last`.
  template <class E>
  void get(E& field, E last) {
    using Number = std::underlying_type_t<E>;
    field = static_cast<E>(number_below<Number>(static_cast<Number>(static_cast<Number>(last) + 1)));
  }
  void get(std::string& field) {
    const auto n = number<std::uint16_t>();
    if (!ok_ || n > kMaxTextBytes || left_.size() < n) {
      ok_ = false;
      return;
    }
    field.assign(reinterpret_cast<const char*>(left_.data()), n);
    left_ = left_.subspan(n);
  }
  template <class T>
  T number_below(T end) {
    const T value = number<T>();
    if (value < end) return value;
    ok_ = false;
    return T{};
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool at_end() const noexcept { return ok_ && left_.empty(); }

 private:
  ByteSpan left_;
  bool ok_ = true;
};

// ---- steps --------------------------------------------------------------------------------------------------------

constexpr std::size_t kStepKinds = 7;
static_assert(std::variant_size_v<Step> == kStepKinds,
              "a new kind of step needs a line in each of the two lists below");

struct PutStep {
  Writer& to;
  void operator()(const AutoOrient&) const {}
  void operator()(const Rotate& rotate) const {
    const auto& [degrees] = rotate;
    to.put(degrees);
  }
  void operator()(const Flip&) const {}
  void operator()(const Flop&) const {}
  void operator()(const Crop& crop) const {
    const auto& [left, top, width, height] = crop;
    to.put(left), to.put(top), to.put(width), to.put(height);
  }
  void operator()(const Resize& resize) const {
    const auto& [width, height, fit, position, kernel, without_enlargement] = resize;
    to.put(width), to.put(height), to.put(fit), to.put(position), to.put(kernel), to.put(without_enlargement);
  }
  void operator()(const Greyscale&) const {}
};

struct GetStep {
  Reader& from;
  void operator()(AutoOrient&) const {}
  void operator()(Rotate& rotate) const { from.get(rotate.degrees); }
  void operator()(Flip&) const {}
  void operator()(Flop&) const {}
  void operator()(Crop& crop) const {
    from.get(crop.left), from.get(crop.top), from.get(crop.width), from.get(crop.height);
  }
  void operator()(Resize& resize) const {
    from.get(resize.width), from.get(resize.height);
    from.get(resize.fit, Fit::kFill), from.get(resize.position, Position::kLeftTop);
    from.get(resize.kernel, Kernel::kLanczos3), from.get(resize.without_enlargement);
  }
  void operator()(Greyscale&) const {}
};

template <std::size_t I = 0>
Step step_of_kind(std::size_t kind) {
  if constexpr (I + 1 < kStepKinds) {
    if (kind != I) return step_of_kind<I + 1>(kind);
  }
  return Step(std::in_place_index<I>);
}

// ---- parts --------------------------------------------------------------------------------------------------------

void put(Writer& to, const Color& color) {
  const auto& [red, green, blue, alpha] = color;
  to.put(red), to.put(green), to.put(blue), to.put(alpha);
}

void get(Reader& from, Color& color) {
  from.get(color.red), from.get(color.green), from.get(color.blue), from.get(color.alpha);
}

void put(Writer& to, const Output& output) {
  const auto& [format, quality, subsampling, progressive, optimize, compression, effort, lossless, keep_metadata,
               keep_profile, flatten, background] = output;
  to.put(format), to.put(quality), to.put(subsampling), to.put(progressive), to.put(optimize), to.put(compression);
  to.put(effort), to.put(lossless), to.put(keep_metadata), to.put(keep_profile), to.put(flatten);
  put(to, background);
}

void get(Reader& from, Output& output) {
  from.get(output.format, Format::kHeic), from.get(output.quality), from.get(output.subsampling, Subsampling::k444);
  from.get(output.progressive), from.get(output.optimize), from.get(output.compression), from.get(output.effort);
  from.get(output.lossless), from.get(output.keep_metadata), from.get(output.keep_profile), from.get(output.flatten);
  get(from, output.background);
}

void put(Writer& to, const Limits& limits) {
  const auto& [max_pixels, max_bytes, max_frames, max_scans, max_output_pixels] = limits;
  to.put(max_pixels), to.put(max_bytes), to.put(max_frames), to.put(max_scans), to.put(max_output_pixels);
}

void get(Reader& from, Limits& limits) {
  from.get(limits.max_pixels), from.get(limits.max_bytes), from.get(limits.max_frames), from.get(limits.max_scans);
  from.get(limits.max_output_pixels);
}

void put(Writer& to, const ImageInfo& info) {
  const auto& [format, width, height, channels, bits, orientation, color_space, has_alpha, has_profile, progressive,
               frames] = info;
  to.put(format), to.put(width), to.put(height), to.put(channels), to.put(bits), to.put(orientation);
  to.put(color_space), to.put(has_alpha), to.put(has_profile), to.put(progressive), to.put(frames);
}

void get(Reader& from, ImageInfo& info) {
  from.get(info.format, Format::kHeic), from.get(info.width), from.get(info.height), from.get(info.channels);
  from.get(info.bits), from.get(info.orientation), from.get(info.color_space, ColorSpace::kCmyk);
  from.get(info.has_alpha), from.get(info.has_profile), from.get(info.progressive), from.get(info.frames);
}

void put(Writer& to, const Recipe& recipe) {
  const auto& [steps, output, limits, fail_on, engine, all_frames, isolate] = recipe;
  to.put(static_cast<std::uint16_t>(steps.size()));
  for (const Step& step : steps) {
    to.put(static_cast<std::uint8_t>(step.index()));
    std::visit(PutStep{to}, step);
  }
  put(to, output), put(to, limits);
  to.put(fail_on), to.put(all_frames);
}

void get(Reader& from, Recipe& recipe) {
  const std::size_t n = from.number_below<std::uint16_t>(kMaxSteps + 1);
  for (std::size_t i = 0; i < n && from.ok(); ++i) {
    recipe.steps.push_back(step_of_kind(from.number_below<std::uint8_t>(kStepKinds)));
    std::visit(GetStep{from}, recipe.steps.back());
  }
  get(from, recipe.output), get(from, recipe.limits);
  from.get(recipe.fail_on, FailOn::kNone), from.get(recipe.all_frames);
  recipe.engine = Engine::kFast;
}

}  // namespace

// ---- messages -----------------------------------------------------------------------------------------------------

std::vector<std::uint8_t> encode(const Request& request) {
  Writer to(Kind::kRequest);
  const auto& [id, size, deadline_ns, recipe] = request;
  to.put(id), to.put(size), to.put(deadline_ns), put(to, recipe);
  return to.take();
}

std::vector<std::uint8_t> encode(const Hello& hello) {
  Writer to(Kind::kHello);
  const auto& [failed, system, landlock] = hello;
  to.put(failed), to.put(system), to.put(landlock);
  return to.take();
}

std::vector<std::uint8_t> encode(const Answer& answer) {
  Writer to(Kind::kAnswer);
  const auto& [id, error, size, format, width, height, frames, input] = answer;
  to.put(id), to.put(error.code), to.put(error.message), to.put(error.context);
  to.put(size), to.put(format), to.put(width), to.put(height), to.put(frames), put(to, input);
  return to.take();
}

std::optional<Request> decode_request(ByteSpan message) {
  Reader from(message, Kind::kRequest);
  Request request;
  from.get(request.id), from.get(request.size), from.get(request.deadline_ns), get(from, request.recipe);
  if (!from.at_end()) return std::nullopt;
  return request;
}

std::optional<Hello> decode_hello(ByteSpan message) {
  Reader from(message, Kind::kHello);
  Hello hello;
  from.get(hello.failed, Setup::kFilter), from.get(hello.system), from.get(hello.landlock);
  if (!from.at_end()) return std::nullopt;
  return hello;
}

std::optional<Answer> decode_answer(ByteSpan message) {
  Reader from(message, Kind::kAnswer);
  Answer answer;
  from.get(answer.id), from.get(answer.error.code, ErrorCode::kInternal);
  from.get(answer.error.message), from.get(answer.error.context);
  from.get(answer.size), from.get(answer.format, Format::kHeic);
  from.get(answer.width), from.get(answer.height), from.get(answer.frames), get(from, answer.input);
  if (!from.at_end()) return std::nullopt;
  return answer;
}

std::optional<std::uint16_t> wire_version(ByteSpan message) {
  std::uint32_t magic = 0;
  std::uint16_t version = 0;
  if (message.size() < sizeof magic + sizeof version) return std::nullopt;
  std::memcpy(&magic, message.data(), sizeof magic);
  std::memcpy(&version, message.data() + sizeof magic, sizeof version);
  if (magic != kMagic) return std::nullopt;
  return version;
}

}  // namespace offloop::image::isolate
