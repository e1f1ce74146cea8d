// The native halves of the image operations. Used by image.cpp; bound by nothing else.
#pragma once

#include <string>

#include "core_api.h"
#include "fetch_cores.h"
#include "offloop/pipeline/image.h"
#include "offloop/pipeline/image_sheet.h"

namespace offloop::python {

/// Makes the Python object of a result, or sets an exception; set by image.cpp, which knows nanobind. GIL.
struct PictureConverters {
  PyObject* (*picture)(pipeline::Picture&&);
  PyObject* (*info)(image::ImageInfo&&);
};
void set_picture_converters(const PictureConverters& converters) noexcept;

// Each returns a new Operation, or null with an exception set. `bytes_only`: it yields the data instead of a Picture.
// GIL.
PyObject* start_picture(PyObject* data, pipeline::PictureRequest request, bool bytes_only, const char* name);
PyObject* start_picture_file(std::string path, pipeline::PictureRequest request, bool bytes_only, const char* name);
PyObject* start_picture_url(const FetcherHandle& fetcher, std::string url, pipeline::PictureRequest request,
                            bool bytes_only, const char* name);
PyObject* start_info(PyObject* data, image::Limits limits);
PyObject* start_info_file(std::string path, image::Limits limits);
PyObject* start_sheet(pipeline::SheetRequest request);

}  // namespace offloop::python
