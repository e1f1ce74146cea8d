// Where the decoder program is.
#pragma once

#include <string>

namespace offloop::image::isolate {

/// OFFLOOP_DECODER, else the program beside the library (or program) that this function is in. May throw
/// std::bad_alloc. [any thread]
std::string program_path();

}  // namespace offloop::image::isolate
