// offloop._image: pictures, by nanobind. Loaded with the first use of offloop.image.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <array>
#include <chrono>
#include <string_view>

#include "cast.h"
#include "image_cores.h"
#include "offloop/image/budget.h"
#include "offloop/image/process.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace offloop::python {
namespace {

namespace im = image;
using pipeline::Picture;
using pipeline::PictureRequest;

nb::object checked(PyObject* operation) {
  if (operation == nullptr) throw nb::python_error();
  return nb::steal(operation);
}

void check(const Result<Unit>& result) {
  if (result.ok()) return;
  core_api()->set_error(result.error());
  throw nb::python_error();
}

/// Made once, when it comes back: a result's bytes are asked for again and again.
struct PictureObject {
  Picture picture;
  nb::object data;
};

PyObject* convert_picture(Picture&& picture) {
  try {
    PictureObject object;
    object.data = nb::bytes(picture.image.data.data(), picture.image.data.size());
    picture.image.data = {};
    object.picture = std::move(picture);
    return cast_or_null(std::move(object));
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::exception&) {
    PyErr_NoMemory();
  }
  return nullptr;
}
PyObject* convert_info(im::ImageInfo&& info) {
  return cast_or_null(std::move(info));
}

nb::object hex_of(const std::optional<hash::Digest>& digest) {
  if (!digest.has_value()) return nb::none();
  const std::string hex = digest->hex();
  return nb::str(hex.data(), hex.size());
}

im::Format format_or_raise(const std::string& name) {
  if (name.empty()) return im::Format::kUnknown;
  Result<im::Format> format = im::format_of_name(name);
  if (!format.ok()) {
    const Error error(ErrorCode::kInvalidArgument, "format: " + format.error().message);
    core_api()->set_error(error);
    throw nb::python_error();
  }
  return format.value();
}

PictureRequest request_of(const im::Recipe& recipe, bool hash, const nb::bytes& save_to, double timeout) {
  check(im::check_recipe(recipe));
  PictureRequest request;
  request.recipe = recipe;
  request.hash = hash;
  request.save_to.assign(save_to.c_str(), save_to.size());
  request.timeout_ns = timeout > 0 ? static_cast<std::int64_t>(timeout * 1e9) : 0;
  return request;
}

void bind_info(nb::module_& m) {
  nb::class_<im::ImageInfo>(m, "ImageInfo", "What a picture's header says. Nothing has been decoded.")
      .def_prop_ro(
          "format", [](const im::ImageInfo& i) { return im::format_name(i.format); }, "\"jpeg\", \"png\", ...")
      .def_ro("width", &im::ImageInfo::width, "Pixels, as stored: before the orientation is applied.")
      .def_ro("height", &im::ImageInfo::height, "Pixels, as stored.")
      .def_prop_ro("upright_width", &im::ImageInfo::upright_width, "Pixels, with the orientation applied.")
      .def_prop_ro("upright_height", &im::ImageInfo::upright_height, "Pixels, with the orientation applied.")
      .def_ro("channels", &im::ImageInfo::channels, "1 grey, 2 with alpha, 3 RGB, 4 with alpha or CMYK.")
      .def_ro("bits", &im::ImageInfo::bits, "Of a channel.")
      .def_ro("orientation", &im::ImageInfo::orientation, "EXIF, 1 to 8.")
      .def_prop_ro(
          "color_space", [](const im::ImageInfo& i) { return im::color_space_name(i.color_space); },
          "\"srgb\", \"grey\" or \"cmyk\".")
      .def_ro("has_alpha", &im::ImageInfo::has_alpha)
      .def_ro("has_profile", &im::ImageInfo::has_profile, "An ICC profile is embedded.")
      .def_ro("progressive", &im::ImageInfo::progressive, "Progressive JPEG or interlaced PNG.")
      .def_ro("frames", &im::ImageInfo::frames, "1, or more of an animation.")
      .def("__repr__", [](const im::ImageInfo& i) {
        return std::string("<offloop.image.ImageInfo ") + im::format_name(i.format) + " " + std::to_string(i.width) +
               "x" + std::to_string(i.height) + ">";
      });
}

void bind_picture(nb::module_& m) {
  nb::class_<PictureObject>(m, "Picture", "A finished picture, and what it was made of.")
      .def_ro("data", &PictureObject::data, "bytes of the result; empty when it was saved to a file.")
      .def_prop_ro("format", [](const PictureObject& p) { return im::format_name(p.picture.image.format); })
      .def_prop_ro(
          "width", [](const PictureObject& p) { return p.picture.image.width; }, "Pixels.")
      .def_prop_ro(
          "height", [](const PictureObject& p) { return p.picture.image.height; }, "Pixels.")
      .def_prop_ro("frames", [](const PictureObject& p) { return p.picture.image.frames; })
      .def_prop_ro(
          "size", [](const PictureObject& p) { return p.picture.size; }, "Bytes of the result.")
      .def_prop_ro(
          "sha256", [](const PictureObject& p) { return hex_of(p.picture.digest); },
          "Of the result, hexadecimal; None unless it was asked for.")
      .def_prop_ro(
          "input_sha256", [](const PictureObject& p) { return hex_of(p.picture.input_digest); },
          "Of the input, likewise.")
      .def_prop_ro(
          "input_size", [](const PictureObject& p) { return p.picture.input_size; }, "Bytes of the input.")
      .def_prop_ro(
          "input", [](const PictureObject& p) { return p.picture.image.input; }, "ImageInfo of the input.")
      .def("__repr__", [](const PictureObject& p) {
        return std::string("<offloop.image.Picture ") + im::format_name(p.picture.image.format) + " " +
               std::to_string(p.picture.image.width) + "x" + std::to_string(p.picture.image.height) + ", " +
               std::to_string(p.picture.size) + " bytes>";
      });
}

void bind_recipe(nb::module_& m) {
  nb::enum_<im::Fit>(m, "Fit")
      .value("cover", im::Fit::kCover)
      .value("contain", im::Fit::kContain)
      .value("inside", im::Fit::kInside)
      .value("outside", im::Fit::kOutside)
      .value("fill", im::Fit::kFill);
  nb::enum_<im::Position>(m, "Position")
      .value("centre", im::Position::kCentre)
      .value("top", im::Position::kTop)
      .value("right_top", im::Position::kRightTop)
      .value("right", im::Position::kRight)
      .value("right_bottom", im::Position::kRightBottom)
      .value("bottom", im::Position::kBottom)
      .value("left_bottom", im::Position::kLeftBottom)
      .value("left", im::Position::kLeft)
      .value("left_top", im::Position::kLeftTop);
  nb::enum_<im::Kernel>(m, "Kernel")
      .value("nearest", im::Kernel::kNearest)
      .value("area", im::Kernel::kArea)
      .value("linear", im::Kernel::kLinear)
      .value("cubic", im::Kernel::kCubic)
      .value("mitchell", im::Kernel::kMitchell)
      .value("lanczos2", im::Kernel::kLanczos2)
      .value("lanczos3", im::Kernel::kLanczos3);

  nb::class_<im::Limits>(m, "Limits")
      .def(nb::init<>())
      .def_rw("max_pixels", &im::Limits::max_pixels)
      .def_rw("max_bytes", &im::Limits::max_bytes)
      .def_rw("max_frames", &im::Limits::max_frames)
      .def_rw("max_scans", &im::Limits::max_scans)
      .def_rw("max_output_pixels", &im::Limits::max_output_pixels);

  nb::class_<im::Recipe>(m, "Recipe")
      .def(nb::init<>())
      .def(nb::init<const im::Recipe&>())
      .def_rw("limits", &im::Recipe::limits)
      .def_rw("all_frames", &im::Recipe::all_frames)
      .def_rw("isolate", &im::Recipe::isolate)
      .def_prop_rw(
          "strict", [](const im::Recipe& r) { return r.fail_on == im::FailOn::kError; },
          [](im::Recipe& r, bool strict) { r.fail_on = strict ? im::FailOn::kError : im::FailOn::kNone; })
      .def("set_engine",
           [](im::Recipe& r, const std::string& name) {
             r.engine = name == "fast" ? im::Engine::kFast : name == "vips" ? im::Engine::kVips : im::Engine::kAuto;
           })
      .def("auto_orient", [](im::Recipe& r) { r.steps.emplace_back(im::AutoOrient{}); })
      .def("rotate", [](im::Recipe& r, std::uint16_t degrees) { r.steps.emplace_back(im::Rotate{degrees}); })
      .def("flip", [](im::Recipe& r) { r.steps.emplace_back(im::Flip{}); })
      .def("flop", [](im::Recipe& r) { r.steps.emplace_back(im::Flop{}); })
      .def("greyscale", [](im::Recipe& r) { r.steps.emplace_back(im::Greyscale{}); })
      .def("crop",
           [](im::Recipe& r, std::uint32_t left, std::uint32_t top, std::uint32_t width, std::uint32_t height) {
             r.steps.emplace_back(im::Crop{left, top, width, height});
           })
      .def("resize",
           [](im::Recipe& r, std::uint32_t width, std::uint32_t height, im::Fit fit, im::Position position,
              im::Kernel kernel, bool without_enlargement) {
             r.steps.emplace_back(im::Resize{width, height, fit, position, kernel, without_enlargement});
           })
      .def(
          "output",
          [](im::Recipe& r, const std::string& format, std::uint8_t quality, bool full_chroma, bool progressive,
             bool optimize, std::uint8_t compression, std::uint8_t effort, bool lossless, bool keep_metadata,
             bool keep_profile, bool flatten, std::array<std::uint8_t, 4> background) {
            im::Output o;
            o.format = format_or_raise(format);
            o.quality = quality;
            o.subsampling = full_chroma ? im::Subsampling::k444 : im::Subsampling::k420;
            o.progressive = progressive;
            o.optimize = optimize;
            o.compression = compression;
            o.effort = effort;
            o.lossless = lossless;
            o.keep_metadata = keep_metadata;
            o.keep_profile = keep_profile;
            o.flatten = flatten;
            o.background = {background[0], background[1], background[2], background[3]};
            r.output = o;
          },
          "format"_a, "quality"_a, "full_chroma"_a, "progressive"_a, "optimize"_a, "compression"_a, "effort"_a,
          "lossless"_a, "keep_metadata"_a, "keep_profile"_a, "flatten"_a, "background"_a)
      .def("check", [](const im::Recipe& r) { check(im::check_recipe(r)); });
}

}  // namespace

NB_MODULE(_image, m) {
  m.doc() = "Pictures, for offloop.image.";
  if (core_api() == nullptr) throw nb::python_error();
  nb::set_leak_warnings(false);  // Limits and the like may live to the end of the process
  set_picture_converters({convert_picture, convert_info});
  bind_info(m);
  bind_picture(m);
  bind_recipe(m);

  m.def(
      "start",
      [](nb::object data, const im::Recipe& recipe, bool hash, const nb::bytes& save_to, double timeout,
         bool bytes_only) {
        return checked(start_picture(data.ptr(), request_of(recipe, hash, save_to, timeout), bytes_only,
                                     bytes_only ? "resize" : "picture"));
      },
      "data"_a.none(), "recipe"_a, "hash"_a, "save_to"_a, "timeout"_a, "bytes_only"_a);
  m.def(
      "start_file",
      [](const nb::bytes& path, const im::Recipe& recipe, bool hash, const nb::bytes& save_to, double timeout,
         bool bytes_only) {
        return checked(start_picture_file(std::string(path.c_str(), path.size()),
                                          request_of(recipe, hash, save_to, timeout), bytes_only,
                                          bytes_only ? "resize" : "picture"));
      },
      "path"_a, "recipe"_a, "hash"_a, "save_to"_a, "timeout"_a, "bytes_only"_a);
  m.def(
      "start_url",
      [](nb::capsule fetcher, std::string_view url, const im::Recipe& recipe, bool hash, const nb::bytes& save_to,
         double timeout, bool bytes_only) {
        auto* handle = static_cast<FetcherHandle*>(fetcher.data(kFetcherCapsule));
        return checked(start_picture_url(*handle, std::string(url), request_of(recipe, hash, save_to, timeout),
                                         bytes_only, bytes_only ? "resize" : "picture"));
      },
      "fetcher"_a, "url"_a, "recipe"_a, "hash"_a, "save_to"_a, "timeout"_a, "bytes_only"_a);
  m.def(
      "info", [](nb::object data, const im::Limits& limits) { return checked(start_info(data.ptr(), limits)); },
      "data"_a.none(), "limits"_a);  // None, too, is told apart by its type there
  m.def("info_file", [](const nb::bytes& path, const im::Limits& limits) {
    return checked(start_info_file(std::string(path.c_str(), path.size()), limits));
  });
  m.def(
      "sheet",
      [](const nb::list& paths, std::uint32_t cell, std::uint32_t columns, std::array<std::uint8_t, 4> background,
         const nb::bytes& save_to, const im::Limits& limits) {
        pipeline::SheetRequest request;
        for (nb::handle path : paths) {
          const auto bytes = nb::cast<nb::bytes>(path);
          request.paths.emplace_back(bytes.c_str(), bytes.size());
        }
        request.cell = cell;
        request.columns = columns;
        request.background = {background[0], background[1], background[2], background[3]};
        request.save_to.assign(save_to.c_str(), save_to.size());
        request.limits = limits;
        return checked(start_sheet(std::move(request)));
      },
      "paths"_a, "cell"_a, "columns"_a, "background"_a, "save_to"_a, "limits"_a);
  m.def("detect", [](const nb::bytes& head) -> nb::object {
    const im::Format format = im::detect_format({reinterpret_cast<const std::uint8_t*>(head.c_str()), head.size()});
    if (format == im::Format::kUnknown) return nb::none();
    return nb::str(im::format_name(format));
  });
  m.def("set_max_pixels_in_flight", &im::set_max_pixels_in_flight);
  m.def("max_pixels_in_flight", &im::max_pixels_in_flight);
  m.def("pixels_in_flight", &im::pixels_in_flight);
}

}  // namespace offloop::python
