// Many pictures on one page, to look at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "offloop/pipeline/image.h"

namespace offloop::pipeline {

struct SheetRequest {
  std::vector<std::string> paths;  ///< regular files, in reading order; at least one
  std::uint32_t cell = 128;        ///< pixels: each picture is made to fit a square of this side
  std::uint32_t gap = 4;           ///< pixels around and between the cells
  std::uint32_t columns = 0;       ///< 0: about as many as rows
  image::Color background;         ///< between pictures, and under transparent ones
  image::Limits limits;            ///< of each picture; max_output_pixels is the page's
  std::string save_to;             ///< "" for memory
};

/// A page as PNG. The first picture that cannot be read ends it with that error, its path in the context.
/// kInvalidArgument for no paths or no cell, kImageLimit for a page of more than max_output_pixels. A stop is seen
/// between pictures. [any thread]
Operation<Picture> make_sheet(SheetRequest request);

}  // namespace offloop::pipeline
