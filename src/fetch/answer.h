// What comes back: libcurl's two data callbacks, which judge an answer while it arrives, and what is asked at its end.
#pragma once

#include <cstddef>
#include <optional>

#include "fetch/easy_slot.h"
#include "offloop/base/error.h"

namespace offloop::fetch {

/// CURLOPT_HEADERFUNCTION and CURLOPT_WRITEFUNCTION; `slot` is the EasySlot. [I/O thread]
std::size_t take_header_line(char* data, std::size_t, std::size_t size, void* slot);
std::size_t take_body(char* data, std::size_t, std::size_t size, void* slot);

/// Why an answer that libcurl believes to be whole is not: it ended in its head, or its compressed body did not end.
std::optional<Error> missing_end(const Transfer& t);

}  // namespace offloop::fetch
