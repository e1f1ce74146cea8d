#include "image/vips/steps.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "image/colors.h"

namespace offloop::image::vips {
namespace {

const char* const kBroken = "the picture is broken";

/// The next image of a chain: takes the last one's place, or the error's.
class Chain {
 public:
  Chain(Session& session, Image image) : session_(session), image_(std::move(image)) {}
  /// `call(in, &out)` is one operation of libvips. After a failure nothing is called any more.
  template <class Call>
  Chain& then(Call call) {
    VipsImage* out = nullptr;
    if (image_ == nullptr) return *this;
    const bool done = call(image_.get(), &out) == 0;
    image_.reset(done ? out : nullptr);
    return *this;
  }
  [[nodiscard]] VipsImage* image() const noexcept { return image_.get(); }
  [[nodiscard]] bool ok() const noexcept { return image_ != nullptr; }
  Result<Image> take() {
    if (image_ == nullptr) return session_.failure(ErrorCode::kImage, kBroken);
    return std::move(image_);
  }

 private:
  Session& session_;
  Image image_;
};

bool is_grey(VipsImage* image) noexcept {
  return vips_image_get_bands(image) <= 2;
}

/// One number a band, alpha included where the image has it.
std::vector<double> color_for(VipsImage* image, Color color) {
  std::vector<double> bands{static_cast<double>(color.red)};
  if (!is_grey(image)) bands.insert(bands.end(), {static_cast<double>(color.green), static_cast<double>(color.blue)});
  if (vips_image_hasalpha(image) != 0) bands.push_back(color.alpha);
  return bands;
}

struct DoubleArrayUnref {
  void operator()(VipsArrayDouble* array) const noexcept { vips_area_unref(VIPS_AREA(array)); }
};
using DoubleArray = std::unique_ptr<VipsArrayDouble, DoubleArrayUnref>;

DoubleArray array_of(const std::vector<double>& numbers) {
  return DoubleArray(vips_array_double_new(numbers.data(), static_cast<int>(numbers.size())));
}

bool is_grey(Color color) noexcept {
  return color.red == color.green && color.green == color.blue;
}

VipsKernel kernel_of(Kernel kernel) noexcept {
  switch (kernel) {
    case Kernel::kNearest:
      return VIPS_KERNEL_NEAREST;
    case Kernel::kArea:  // libvips averages whole pixels; what is left of the ratio goes by lines
    case Kernel::kLinear:
      return VIPS_KERNEL_LINEAR;
    case Kernel::kCubic:
      return VIPS_KERNEL_CUBIC;
    case Kernel::kMitchell:
      return VIPS_KERNEL_MITCHELL;
    case Kernel::kLanczos2:
      return VIPS_KERNEL_LANCZOS2;
    default:
      return VIPS_KERNEL_LANCZOS3;
  }
}

/// An axis as two whole numbers: how long all of [low, high) becomes, and where the result begins within that.
struct Scaled {
  int length;
  int start;
};
Scaled scaled(const Axis& axis) noexcept {
  const auto length = static_cast<int>(std::lround((axis.high - axis.low) / axis.scale));
  const auto start = static_cast<int>(std::lround((axis.offset - axis.low) / axis.scale));
  return {std::max(length, start + axis.size), start};
}

/// By colours weighed with their alpha, without what transparent pixels hide.
void resize(Chain& chain, int width, int height, Kernel kernel) {
  const bool alpha = vips_image_hasalpha(chain.image()) != 0;
  const double x = static_cast<double>(width) / vips_image_get_width(chain.image());
  const double y = static_cast<double>(height) / vips_image_get_height(chain.image());
  if (alpha) chain.then([](VipsImage* in, VipsImage** out) { return vips_premultiply(in, out, nullptr); });
  chain.then([&](VipsImage* in, VipsImage** out) {
    return kernel == Kernel::kArea
               ? vips_resize(in, out, x, "vscale", y, "kernel", kernel_of(kernel), "gap", 1.0, nullptr)
               : vips_resize(in, out, x, "vscale", y, "kernel", kernel_of(kernel), nullptr);
  });
  if (alpha) {
    chain.then([](VipsImage* in, VipsImage** out) { return vips_unpremultiply(in, out, nullptr); });
    chain.then([](VipsImage* in, VipsImage** out) { return vips_rint(in, out, nullptr); });  // a cast cuts off
  }
  chain.then([](VipsImage* in, VipsImage** out) { return vips_cast_uchar(in, out, nullptr); });
  // Its own rounding of the sides may differ by a pixel.
  if (!chain.ok() || (vips_image_get_width(chain.image()) == width && vips_image_get_height(chain.image()) == height))
    return;
  chain.then([&](VipsImage* in, VipsImage** out) {
    return vips_embed(in, out, 0, 0, width, height, "extend", VIPS_EXTEND_COPY, nullptr);
  });
}

void extract(Chain& chain, Rect window) {
  if (!chain.ok() || window == Rect{0, 0, vips_image_get_width(chain.image()), vips_image_get_height(chain.image())})
    return;
  chain.then([&](VipsImage* in, VipsImage** out) {
    return vips_extract_area(in, out, window.left, window.top, window.width, window.height, nullptr);
  });
}

void turn(Chain& chain, Turn turn) {
  // A quarter clockwise is a transposition with its columns reversed.
  const bool flop = turn.transpose ? !turn.flop : turn.flop;
  if (turn.transpose) {
    chain.then([](VipsImage* in, VipsImage** out) { return vips_rot(in, out, VIPS_ANGLE_D90, nullptr); });
  }
  if (flop)
    chain.then([](VipsImage* in, VipsImage** out) { return vips_flip(in, out, VIPS_DIRECTION_HORIZONTAL, nullptr); });
  if (turn.flip) {
    chain.then([](VipsImage* in, VipsImage** out) { return vips_flip(in, out, VIPS_DIRECTION_VERTICAL, nullptr); });
  }
}

int to_srgb(VipsImage* in, VipsImage** out) {
  return vips_colourspace(in, out, VIPS_INTERPRETATION_sRGB, nullptr);
}

/// A grey picture on a coloured canvas is no longer grey, an opaque one on a translucent canvas no longer opaque.
void put_on_canvas(Chain& chain, const Stage& stage, Color background) {
  if (chain.ok() && is_grey(chain.image()) && !is_grey(background)) chain.then(to_srgb);
  if (chain.ok() && background.alpha != 255 && vips_image_hasalpha(chain.image()) == 0) {
    chain.then([](VipsImage* in, VipsImage** out) { return vips_bandjoin_const1(in, out, 255, nullptr); });
  }
  chain.then([&](VipsImage* in, VipsImage** out) {
    const DoubleArray color = array_of(color_for(in, background));
    return vips_embed(in, out, stage.place.left, stage.place.top, stage.canvas.width, stage.canvas.height, "extend",
                      VIPS_EXTEND_BACKGROUND, "background", color.get(), nullptr);
  });
}

/// What can be made while the source is read from top to bottom.
void resample(Chain& chain, const Stage& stage) {
  const Scaled x = scaled(stage.x);
  const Scaled y = scaled(stage.y);
  extract(chain, {stage.x.low, stage.y.low, stage.x.high - stage.x.low, stage.y.high - stage.y.low});
  if (chain.ok() &&
      (vips_image_get_width(chain.image()) != x.length || vips_image_get_height(chain.image()) != y.length)) {
    resize(chain, x.length, y.length, stage.kernel);
  }
  extract(chain, {x.start, y.start, stage.x.size, stage.y.size});
}

Result<Image> into_memory(Session& session, Chain& chain) {
  chain.then([](VipsImage* in, VipsImage** out) { return (*out = vips_image_copy_memory(in)) == nullptr ? -1 : 0; });
  Result<Image> made = chain.take();
  if (made) session.watch(made.value().get());
  return made;
}

/// A profile that does not say anything new, or nothing at all.
bool needs_no_transform(VipsImage* image) {
  const void* data = nullptr;
  std::size_t size = 0;
  if (vips_image_get_blob(image, VIPS_META_ICC_NAME, &data, &size) != 0) return true;
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  return vips_image_get_interpretation(image) != VIPS_INTERPRETATION_CMYK && is_srgb_profile({bytes, bytes + size});
}

}  // namespace

Result<Image> to_working_colors(Session& session, Image image, bool keep_profile) {
  const bool cmyk = vips_image_get_interpretation(image.get()) == VIPS_INTERPRETATION_CMYK;
  const bool profile = vips_image_get_typeof(image.get(), VIPS_META_ICC_NAME) != 0;
  Chain chain(session, std::move(image));
  if (profile && (!keep_profile || cmyk) && !needs_no_transform(chain.image())) {
    chain.then([](VipsImage* in, VipsImage** out) {
      if (vips_icc_transform(in, out, "srgb", "embedded", TRUE, "depth", 8, "intent", VIPS_INTENT_PERCEPTUAL,
                             nullptr) == 0)
        return 0;
      return vips_copy(in, out, nullptr);  // a broken profile is as good as none
    });
  }
  chain.then([](VipsImage* in, VipsImage** out) {
    const VipsInterpretation now = vips_image_guess_interpretation(in);
    const bool grey = now == VIPS_INTERPRETATION_B_W || now == VIPS_INTERPRETATION_GREY16 || is_grey(in);
    const VipsInterpretation wanted = grey ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
    if (now == wanted || vips_colourspace_issupported(in) == 0)
      return vips_copy(in, out, "interpretation", wanted, nullptr);
    return vips_colourspace(in, out, wanted, nullptr);
  });
  chain.then([](VipsImage* in, VipsImage** out) {
    const int most = vips_image_get_interpretation(in) == VIPS_INTERPRETATION_B_W ? 2 : 4;
    return vips_extract_band(in, out, 0, "n", std::min(most, vips_image_get_bands(in)), nullptr);
  });
  chain.then([](VipsImage* in, VipsImage** out) { return vips_cast_uchar(in, out, nullptr); });
  return chain.take();
}

Result<Image> run_plan(Session& session, Image image, const Plan& plan, Color background) {
  for (const Stage& stage : plan.stages) {
    Chain read(session, std::move(image));
    resample(read, stage);
    Result<Image> made = into_memory(session, read);
    if (!made) return made;
    Chain chain(session, std::move(made).value());
    turn(chain, stage.turn);
    if (stage.padded) put_on_canvas(chain, stage, background);
    Result<Image> done = into_memory(session, chain);
    if (!done) return done;
    image = std::move(done).value();
  }
  return image;
}

Result<Image> finish_colors(Session& session, Image image, bool flatten, bool grey, Color background) {
  Chain chain(session, std::move(image));
  if (flatten && vips_image_hasalpha(chain.image()) != 0) {
    if (is_grey(chain.image()) && !is_grey(background)) chain.then(to_srgb);
    chain.then([&](VipsImage* in, VipsImage** out) {
      std::vector<double> color = color_for(in, background);
      color.pop_back();
      const DoubleArray array = array_of(color);
      return vips_flatten(in, out, "background", array.get(), nullptr);
    });
  }
  if (grey) {
    chain.then(
        [](VipsImage* in, VipsImage** out) { return vips_colourspace(in, out, VIPS_INTERPRETATION_B_W, nullptr); });
  }
  return chain.take();
}

}  // namespace offloop::image::vips
