// URLs that the fetcher takes: absolute, http or https.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "offloop/base/result.h"

namespace offloop::fetch {

struct Url {
  std::string text;        ///< as libcurl gets it (host in its ASCII form)
  std::string host;        ///< lower case, ASCII, without brackets; an IPv4 host in any notation as dotted decimal
  std::uint16_t port = 0;  ///< the scheme's own when the URL has none
  bool https = false;
  bool literal = false;       ///< the host is an IP address: nothing to resolve
  bool has_userinfo = false;  ///< "user:password@" is present: hide it before logging

  bool same_origin(const Url& other) const { return https == other.https && port == other.port && host == other.host; }
};

/// kInvalidUrl with what is wrong: syntax, scheme, host, port, control characters. [any thread]
Result<Url> parse_url(std::string_view text);

/// parse_url without its value, for a check before anything is queued. [any thread]
Result<Unit> check_url(std::string_view text);

/// What a reference such as a Location header means on the page `base` (RFC 3986 section 5); errors as parse_url. [any
/// thread]
Result<Url> join_url(const Url& base, std::string_view reference);

/// The text with a password replaced by "***", for messages. [any thread]
std::string redact_url(std::string_view text);

}  // namespace offloop::fetch
