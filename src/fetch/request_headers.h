// Request headers as libcurl's list, built once per Fetcher and only per request where a request has its own.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <vector>

#include "offloop/base/result.h"
#include "offloop/fetch/options.h"

namespace offloop::fetch {

struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Slist = std::unique_ptr<curl_slist, SlistDeleter>;

/// kInvalidArgument unless every name is an RFC 9110 token and every value one line, and none is a header that frames
/// the message (Content-Length, Transfer-Encoding, ...), which are libcurl's.
Result<Unit> check_headers(const std::vector<Header>& headers);

enum class HeaderScope { kSameOrigin, kOtherOrigin };

/// The headers of every request: what the options imply (User-Agent, Accept-Encoding), then their own. As lines of the
/// list and not as libcurl's options, because libcurl formats those twice a request, byte by byte: 6 % of all
/// instructions of a 1 KB fetch (libcurl 7.88).
std::vector<Header> base_headers(const FetcherOptions& options);

/// `base` overridden by `own`. For another origin than the request's, credentials and Host are left out (RFC
/// 9110 15.4).
Slist build_headers(const std::vector<Header>& base, const std::vector<Header>& own, HeaderScope scope);

/// Whether build_headers gives something else for another origin.
bool has_origin_bound(const std::vector<Header>& headers);

}  // namespace offloop::fetch
