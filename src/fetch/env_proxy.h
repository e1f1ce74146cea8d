// The proxy that the environment asks for. Chosen here and not by libcurl, so that the proxy's name goes through our
// resolver.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "offloop/fetch/url.h"

namespace offloop::fetch {

struct Proxy {
  std::string text;  ///< as libcurl takes it
  std::string host;
  std::uint16_t port = 0;
  bool literal = false;
};

/// Immutable after from_environment().
class EnvProxy {
 public:
  /// Reads http_proxy (lower case only: HTTP_PROXY is a request header in CGI), https_proxy, all_proxy, no_proxy.
  static EnvProxy from_environment();
  static EnvProxy from_values(const char* http, const char* https, const char* all, const char* no_proxy);

  /// nullptr: connect directly. This machine is never reached through a proxy. [any thread]
  const Proxy* for_url(const Url& url) const;

 private:
  std::optional<Proxy> http_;
  std::optional<Proxy> https_;
  std::vector<std::string> exceptions_;
  bool none_ = false;  // no_proxy=*
};

}  // namespace offloop::fetch
