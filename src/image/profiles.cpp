// ICC profiles, by Little CMS.
#include <lcms2.h>

#include <cstring>
#include <memory>

#include "image/colors.h"

namespace offloop::image {
namespace {

struct CloseProfile {
  void operator()(void* profile) const noexcept { cmsCloseProfile(profile); }
};
struct DeleteTransform {
  void operator()(void* transform) const noexcept { cmsDeleteTransform(transform); }
};
struct DeleteContext {
  void operator()(cmsContext context) const noexcept { cmsDeleteContext(context); }
};
using Profile = std::unique_ptr<void, CloseProfile>;
using Transform = std::unique_ptr<void, DeleteTransform>;
// One a picture: contexts are what makes Little CMS independent of other users and threads.
using Context = std::unique_ptr<std::remove_pointer_t<cmsContext>, DeleteContext>;

Context make_context() noexcept {
  return Context(cmsCreateContext(nullptr, nullptr));
}

Profile open_profile(const Context& context, const std::vector<std::uint8_t>& icc) noexcept {
  return Profile(cmsOpenProfileFromMemTHR(context.get(), icc.data(), static_cast<cmsUInt32Number>(icc.size())));
}

}  // namespace

bool is_srgb_profile(const std::vector<std::uint8_t>& icc) noexcept {
  const Context context = make_context();
  const Profile profile = context != nullptr ? open_profile(context, icc) : nullptr;
  if (profile == nullptr) return true;
  char description[128] = {};
  cmsGetProfileInfoASCII(profile.get(), cmsInfoDescription, "en", "US", description, sizeof description);
  // What is called so is: sRGB IEC61966-2.1, sRGB built-in, c2, "Artifex ... sRGB", Google's and Apple's.
  return cmsGetColorSpace(profile.get()) == cmsSigRgbData && std::strstr(description, "sRGB") != nullptr;
}

Pixels to_srgb(Pixels pixels, const std::vector<std::uint8_t>& icc) {
  const Context context = make_context();
  const Profile from = context != nullptr ? open_profile(context, icc) : nullptr;
  const Profile to(context != nullptr ? cmsCreate_sRGBProfileTHR(context.get()) : nullptr);
  if (from == nullptr || to == nullptr) return pixels;
  const bool grey = channels_of(pixels.model) < 3;
  const cmsColorSpaceSignature space = cmsGetColorSpace(from.get());
  if (space != (grey ? cmsSigGrayData : cmsSigRgbData)) return pixels;
  const bool alpha = has_alpha(pixels.model);
  const cmsUInt32Number in = grey ? (alpha ? TYPE_GRAYA_8 : TYPE_GRAY_8) : alpha ? TYPE_RGBA_8 : TYPE_RGB_8;
  const cmsUInt32Number out = alpha ? TYPE_RGBA_8 : TYPE_RGB_8;
  const Transform transform(cmsCreateTransformTHR(context.get(), from.get(), in, to.get(), out, INTENT_PERCEPTUAL,
                                                  alpha ? cmsFLAGS_COPY_ALPHA : 0));
  if (transform == nullptr) return pixels;
  Pixels done{alpha ? Model::kRgba : Model::kRgb, pixels.width, pixels.height, 1, 1, {}};
  Plane& plane = done.planes.emplace_back(pixels.width, pixels.height, channels_of(done.model));
  for (int y = 0; y < pixels.height; ++y)
    cmsDoTransform(transform.get(), pixels.planes[0].row(y), plane.row(y), static_cast<cmsUInt32Number>(pixels.width));
  return done;
}

}  // namespace offloop::image
