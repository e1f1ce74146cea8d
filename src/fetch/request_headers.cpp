#include "fetch/request_headers.h"

#include <strings.h>

#include <algorithm>
#include <initializer_list>
#include <new>
#include <string>
#include <utility>

#include "fetch/content_decoder.h"

namespace offloop::fetch {
namespace {

constexpr const char* kUserAgent = "offloop/0.1 (+https://pypi.org/project/offloop/)";

bool same_name(const std::string& a, const char* b) {
  return strcasecmp(a.c_str(), b) == 0;
}

bool any_of_names(const std::string& name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* other) { return same_name(name, other); });
}

bool is_framing(const std::string& name) {
  return any_of_names(name,
                      {"Content-Length", "Transfer-Encoding", "Connection", "TE", "Trailer", "Upgrade", "Expect"});
}

bool is_origin_bound(const std::string& name) {
  return any_of_names(name, {"Authorization", "Cookie", "Proxy-Authorization", "Host"});
}

bool is_token(const std::string& name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool is_value(const std::string& value) {
  return std::all_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7f) || c == '\t';
  });
}

void append(Slist& list, const Header& header) {
  // "Name;" is libcurl's way to send a header without a value.
  const std::string line = header.value.empty() ? header.name + ";" : header.name + ": " + header.value;
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  (void)list.release();
  list.reset(longer);
}

}  // namespace

Result<Unit> check_headers(const std::vector<Header>& headers) {
  for (const Header& header : headers) {
    if (!is_token(header.name))
      return Error(ErrorCode::kInvalidArgument, "header name is not valid: '" + header.name + "'");
    if (!is_value(header.value)) {
      return Error(ErrorCode::kInvalidArgument, "value of header " + header.name + " contains a control character");
    }
    if (is_framing(header.name)) {
      return Error(ErrorCode::kInvalidArgument, "header " + header.name + " is set by the fetcher itself");
    }
  }
  return Unit{};
}

std::vector<Header> base_headers(const FetcherOptions& options) {
  std::vector<Header> headers;
  const auto imply = [&](const char* name, std::string value) {
    const bool given = std::any_of(options.headers.begin(), options.headers.end(),
                                   [&](const Header& header) { return same_name(header.name, name); });
    if (!given && !value.empty()) headers.push_back({name, std::move(value)});
  };
  imply("User-Agent", options.user_agent.empty() ? kUserAgent : options.user_agent);
  if (options.decompress) imply("Accept-Encoding", kAcceptEncoding);
  headers.insert(headers.end(), options.headers.begin(), options.headers.end());
  return headers;
}

Slist build_headers(const std::vector<Header>& base, const std::vector<Header>& own, HeaderScope scope) {
  Slist list;
  const auto wanted = [&](const Header& header) {
    return scope == HeaderScope::kSameOrigin || !is_origin_bound(header.name);
  };
  for (const Header& header : base) {
    const bool replaced = std::any_of(own.begin(), own.end(),
                                      [&](const Header& other) { return same_name(header.name, other.name.c_str()); });
    if (!replaced && wanted(header)) append(list, header);
  }
  for (const Header& header : own) {
    if (wanted(header)) append(list, header);
  }
  return list;
}

bool has_origin_bound(const std::vector<Header>& headers) {
  return std::any_of(headers.begin(), headers.end(), [](const Header& header) { return is_origin_bound(header.name); });
}

}  // namespace offloop::fetch
