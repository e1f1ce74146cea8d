// Options of a Fetcher. The names are those of Python and of the command line: they carry no units. Times are in
// seconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "offloop/base/result.h"
#include "offloop/fetch/address_policy.h"

namespace offloop::fetch {

struct Header {
  std::string name;
  std::string value;
};

struct FetcherOptions {
  unsigned io_threads = 1;       ///< 1 to 64; one is right until it is saturated (about 60k small requests/s)
  unsigned max_concurrent = 64;  ///< transfers in flight, over all hosts and I/O threads
  unsigned per_host = 0;         ///< transfers in flight to one host name, whatever the port; 0 = no limit of its own

  double connect_timeout = 5;            ///< name look-up, TCP and TLS together, per hop; infinity = none
  double timeout = 10;                   ///< from leaving the queue to the last byte, over all hops; infinity = none
  std::uint32_t low_speed_bytes = 1000;  ///< slower than this ...
  std::uint32_t low_speed_time = 20;     ///< ... for this long is a timeout; 0 = off

  unsigned max_redirects = 10;                      ///< 0: a redirect is an error
  std::uint64_t max_body = std::uint64_t{1} << 30;  ///< decoded bytes of one body
  bool fail_on_status = true;                       ///< a status of 400 or above is the error kHttpStatus

  bool verify_tls = true;
  std::string ca_file;          ///< PEM file instead of the system's certificates; empty = the system's
  bool decompress = true;       ///< ask for and decode gzip, br and zstd
  bool http2 = false;           ///< offer HTTP/2 on https
  std::string user_agent;       ///< empty = "offloop/<version> (+project page)"
  std::vector<Header> headers;  ///< sent with every request
  bool env_proxy = true;        ///< honour http_proxy, https_proxy, all_proxy, no_proxy; never with an address policy

  AddressMode addresses = AddressMode::kAllowAll;
  std::vector<std::string> allow_cidrs;
  std::vector<std::string> deny_cidrs;

  std::vector<std::string> resolve;  ///< "host:address" overrides of name resolution, as "example.test:127.0.0.1"
};

/// kInvalidArgument with the name of the option, its range and the value given. [any thread]
Result<Unit> validate(const FetcherOptions& options);

}  // namespace offloop::fetch
