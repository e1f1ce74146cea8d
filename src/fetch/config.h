// What every part of one Fetcher reads and none writes.
#pragma once

#include <string>
#include <vector>

#include "fetch/env_proxy.h"
#include "fetch/request_headers.h"
#include "offloop/fetch/options.h"

namespace offloop::fetch {

struct Config {
  FetcherOptions options;
  AddressPolicy policy;
  EnvProxy proxy;
  std::vector<Header> base_headers;  // with User-Agent and Accept-Encoding
  Slist headers;                     // libcurl only reads lists, so all I/O threads share them
  Slist stripped_headers;            // for hops to another origin
  bool origin_bound = false;
};

}  // namespace offloop::fetch
