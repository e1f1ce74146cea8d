// From libcurl's codes to ours.
#pragma once

#include <curl/curl.h>

#include <string>

#include "offloop/base/error.h"

namespace offloop::fetch {

/// `detail` is libcurl's own message for this transfer, may be empty. `answered`: something of an answer had come,
/// which tells a connection that failed from a body that was cut. Timeouts are told apart by the caller, who knows the
/// clock.
Error error_from_curl(CURLcode code, const std::string& detail, bool answered);

/// "10s", "0.25s".
std::string seconds_text(double seconds);

/// Initialises libcurl once for the process. kOutOfMemory, or kInternal with libcurl's reason, when it fails: the next
/// call tries again. [any thread]
Error init_curl_once();

}  // namespace offloop::fetch
