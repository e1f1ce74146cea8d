// Whether a TLS connection was closed by the other end or cut by somebody on the way.
#pragma once

#include <curl/curl.h>

#include <memory>

namespace offloop::fetch {

/// A flag that is set when TLS's closing message comes on the connection of this transfer. Null when that cannot be
/// known: libcurl was built with another TLS library, or another version of it; or memory is out. [I/O thread, in a
/// callback of the transfer]
std::shared_ptr<const bool> watch_closing_message(CURL* easy);

}  // namespace offloop::fetch
