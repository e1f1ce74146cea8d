// What a decoder says is judged as what a stranger says.
#pragma once

#include <string>

#include "image/isolate/budget.h"
#include "image/isolate/wire.h"
#include "offloop/base/bytes.h"

namespace offloop::image::isolate {

/// What is wrong with an answer that says "done", in words; empty when it may be believed as far as anybody can tell
/// without decoding. `input`: the format that we found by the input's signature. May throw std::bad_alloc.
std::string doubt(const Answer& answer, const Recipe& recipe, Format input, const Budget& budget);

/// True for the errors that a picture may have there.
bool may_fail_so(ErrorCode code) noexcept;

/// An error's text without anything but printable ASCII. May throw std::bad_alloc.
std::string printable(std::string text);

/// True for what the decoder program reads and writes.
bool has_decoder(Format format) noexcept;

}  // namespace offloop::image::isolate
