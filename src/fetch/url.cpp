#include "offloop/fetch/url.h"

#include <curl/curl.h>
#include <langinfo.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "offloop/fetch/address_policy.h"

namespace offloop::fetch {
namespace {

constexpr std::size_t kMaxUrlBytes = 64 * 1024;
constexpr std::size_t kMaxHostBytes = 253;  // RFC 1035: longer names cannot be looked up

Error invalid(std::string_view text, std::string why) {
  return Error(ErrorCode::kInvalidUrl, std::move(why), redact_url(text));
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/// Four numbers of at most 255 without leading zeros: the one notation of IPv4 that everybody reads alike.
bool is_dotted_decimal(std::string_view host) {
  for (int part = 0; part < 4; ++part) {
    std::size_t digits = 0;
    int value = 0;
    while (digits < host.size() && digits < 4 && host[digits] >= '0' && host[digits] <= '9') {
      value = value * 10 + (host[digits++] - '0');
    }
    if (digits == 0 || value > 255 || (digits > 1 && host[0] == '0')) return false;
    host.remove_prefix(digits);
    if (part == 3) return host.empty();
    if (!host.starts_with('.')) return false;
    host.remove_prefix(1);
  }
  return false;
}

/// Reads the common form "http[s]://name[:port][/...]" without a general parser, which costs a microsecond on the
/// caller's loop. nullopt for everything that could be read in two ways: user names, brackets, escapes, upper case,
/// number-like hosts.
std::optional<Url> parse_plain(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    url.https = true;
    rest.remove_prefix(8);
  } else {
    return std::nullopt;
  }
  if (!std::all_of(rest.begin(), rest.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '\\'; }))
    return std::nullopt;

  const auto host_end = std::find_if_not(rest.begin(), rest.end(), is_host_char);
  const std::string_view host(rest.begin(), host_end);
  if (host.empty() || host.size() > kMaxHostBytes || host.front() == '.' || host.back() == '.') return std::nullopt;
  const std::string_view last_label = host.substr(host.rfind('.') + 1);
  url.literal = is_dotted_decimal(host);
  if (!url.literal && !(last_label[0] >= 'a' && last_label[0] <= 'z')) return std::nullopt;
  if (host.find("..") != std::string_view::npos) return std::nullopt;
  rest.remove_prefix(host.size());

  std::uint32_t port = url.https ? 443 : 80;
  if (rest.starts_with(':')) {
    rest.remove_prefix(1);
    std::size_t digits = 0;
    port = 0;
    while (digits < rest.size() && digits < 5 && rest[digits] >= '0' && rest[digits] <= '9') {
      port = port * 10 + static_cast<std::uint32_t>(rest[digits++] - '0');
    }
    rest.remove_prefix(digits);
    if (digits == 0 || port == 0 || port > 65535) return std::nullopt;
  }
  if (!rest.empty() && rest[0] != '/' && rest[0] != '?' && rest[0] != '#') return std::nullopt;
  url.text = text;
  url.host = host;
  url.port = static_cast<std::uint16_t>(port);
  return url;
}

struct CurlUrlDeleter {
  void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
};
using CurlUrl = std::unique_ptr<CURLU, CurlUrlDeleter>;

CurlUrl new_url() {
  CurlUrl handle(curl_url());
  if (!handle) throw std::bad_alloc();
  return handle;
}

/// libcurl 7.88 has other codes, too, for memory that it does not get; malloc says so in errno.
template <class Call>
CURLUcode checked(Call call) {
  errno = 0;
  const CURLUcode code = call();
  if (code == CURLUE_OUT_OF_MEMORY || (code != CURLUE_OK && errno == ENOMEM)) throw std::bad_alloc();
  return code;
}

CURLUcode set_part(CURLU* handle, CURLUPart what, const std::string& text, unsigned flags) {
  return checked([&] { return curl_url_set(handle, what, text.c_str(), flags); });
}

std::optional<std::string> part(CURLU* handle, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (checked([&] { return curl_url_get(handle, what, &text, flags); }) != CURLUE_OK) return std::nullopt;
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
  return text;
}

/// The xn-- form of an international host. libcurl's conversion reads the locale's character set: Python sets a UTF-8
/// one, a C++ program may have "C", where it would fail and (7.88) leak its copy of the name.
std::optional<std::string> ascii_host([[maybe_unused]] CURLU* handle) {
#if LIBCURL_VERSION_NUM >= 0x075800  // CURLU_PUNYCODE
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return part(handle, CURLUPART_HOST, CURLU_PUNYCODE);
#endif
  return std::nullopt;
}

/// libcurl's own reader, so that what is checked is what is connected to.
Result<Url> parse_general(std::string_view text) {
  const std::string copy(text);
  const CurlUrl handle = new_url();
  // Schemes of libcurl that are not ours parse too and are refused by name below.
  const CURLUcode code = set_part(handle.get(), CURLUPART_URL, copy, CURLU_NON_SUPPORT_SCHEME);
  if (code == CURLUE_BAD_PORT_NUMBER) return invalid(text, "port must be a number from 1 to 65535");
  if (code == CURLUE_NO_HOST) return invalid(text, "URL has no host");
  if (code == CURLUE_BAD_HOSTNAME) return invalid(text, "host is not valid");
  if (code != CURLUE_OK) return invalid(text, std::string("URL cannot be read: ") + curl_url_strerror(code));

  Url url;
  const std::string scheme = part(handle.get(), CURLUPART_SCHEME).value_or("");
  if (scheme != "http" && scheme != "https") {
    return invalid(text, "scheme must be http or https, got '" + scheme + "'");
  }
  url.https = scheme == "https";
  if (text.substr(text.find("://") + 3).starts_with('/'))
    return invalid(text, "URL has no host");  // libcurl skips slashes
  if (part(handle.get(), CURLUPART_ZONEID)) return invalid(text, "an address with a zone is not supported");
  std::string host = part(handle.get(), CURLUPART_HOST).value_or("");
  if (host.empty()) return invalid(text, "URL has no host");

  if (std::any_of(host.begin(), host.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    const std::optional<std::string> ascii = ascii_host(handle.get());
    if (!ascii) return invalid(text, "international host name cannot be converted: give its ASCII form (xn--...)");
    host = *ascii;
    set_part(handle.get(), CURLUPART_HOST, host, 0);
  }
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (host.front() == '[') {
    host = host.substr(1, host.size() - 2);
    if (!IpAddress::parse(host)) return invalid(text, "host is not an IPv6 address");
    url.literal = true;
  } else {
    url.literal = IpAddress::parse(host).has_value();
    const bool plain = std::all_of(host.begin(), host.end(), is_host_char);
    if (!plain || host.size() > kMaxHostBytes) return invalid(text, "host is not valid");
    if (host.front() == '.' || host.find("..") != std::string::npos) return invalid(text, "host has an empty label");
  }
  url.host = std::move(host);

  const std::string port = part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT).value_or("0");
  const int number = std::stoi(port);  // libcurl has checked that it is one
  if (number < 1 || number > 65535) return invalid(text, "port must be a number from 1 to 65535");
  url.port = static_cast<std::uint16_t>(number);
  url.has_userinfo = part(handle.get(), CURLUPART_USER) || part(handle.get(), CURLUPART_PASSWORD);
  url.text = part(handle.get(), CURLUPART_URL).value_or(copy);
  return url;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  if (text.empty()) return invalid(text, "URL is empty");
  if (text.size() > kMaxUrlBytes) return invalid(text.substr(0, 200), "URL is longer than 65536 bytes");
  if (std::optional<Url> url = parse_plain(text)) return *std::move(url);
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) {
      return invalid(text, "URL contains a blank or control character");
    }
  }
  // Browsers read "\" as "/", RFC 3986 does not: "http://public\@private/" has two meanings and gets none.
  if (text.find('\\') != std::string_view::npos) return invalid(text, "URL contains a backslash");
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return invalid(text, "URL must start with http:// or https://");
  return parse_general(text);
}

Result<Unit> check_url(std::string_view text) {
  Result<Url> url = parse_url(text);
  if (!url) return std::move(url).error();
  return Unit{};
}

Result<Url> join_url(const Url& base, std::string_view reference) {
  const std::string copy(reference);
  const CurlUrl handle = new_url();
  // Servers send blanks and raw UTF-8 in Location; a client that others know encodes them.
  constexpr unsigned kFlags = CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE;
  if (set_part(handle.get(), CURLUPART_URL, base.text, kFlags) != CURLUE_OK ||
      set_part(handle.get(), CURLUPART_URL, copy, kFlags) != CURLUE_OK) {
    return invalid(reference, "URL cannot be read");
  }
  return parse_url(part(handle.get(), CURLUPART_URL).value_or(""));
}

std::string redact_url(std::string_view text) {
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return std::string(text);
  const std::size_t start = scheme_end + 3;
  const std::size_t end = std::min(text.find_first_of("/?#", start), text.size());
  const std::size_t at = text.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < start) return std::string(text);
  const std::size_t colon = text.find(':', start);
  if (colon == std::string_view::npos || colon > at) return std::string(text);
  return std::string(text.substr(0, colon + 1)) + "***" + std::string(text.substr(at));
}

}  // namespace offloop::fetch
