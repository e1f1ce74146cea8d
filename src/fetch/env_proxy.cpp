#include "fetch/env_proxy.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>

#include "offloop/fetch/address_policy.h"

namespace offloop::fetch {
namespace {

std::optional<Proxy> parse_proxy(const char* text) {
  if (text == nullptr || *text == '\0') return std::nullopt;
  CURLU* handle = curl_url();
  if (handle == nullptr) return std::nullopt;
  std::optional<Proxy> proxy;
  char* host = nullptr;
  char* port = nullptr;
  char* scheme = nullptr;
  if (curl_url_set(handle, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) == CURLUE_OK &&
      curl_url_get(handle, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
      curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK) {
    proxy.emplace();
    proxy->text = text;
    proxy->host = host;
    if (proxy->host.front() == '[') proxy->host = proxy->host.substr(1, proxy->host.size() - 2);
    proxy->literal = IpAddress::parse(proxy->host).has_value();
    proxy->port = std::string_view(scheme) == "https" ? 443 : 1080;  // libcurl's defaults
    if (curl_url_get(handle, CURLUPART_PORT, &port, 0) == CURLUE_OK) {
      proxy->port = static_cast<std::uint16_t>(std::strtoul(port, nullptr, 10));
    }
  }
  curl_free(host);
  curl_free(port);
  curl_free(scheme);
  curl_url_cleanup(handle);
  return proxy;
}

const char* first_set(const char* lower, const char* upper) {
  const char* value = std::getenv(lower);
  return value != nullptr || upper == nullptr ? value : std::getenv(upper);
}

bool is_this_machine(const Url& url) {
  if (url.host == "localhost" || url.host.ends_with(".localhost")) return true;
  const std::optional<IpAddress> address = IpAddress::parse(url.host);
  if (!address) return false;
  const char* reason = non_public_reason(*address);
  return reason != nullptr && std::string_view(reason) == "loopback";
}

}  // namespace

EnvProxy EnvProxy::from_environment() {
  return from_values(first_set("http_proxy", nullptr), first_set("https_proxy", "HTTPS_PROXY"),
                     first_set("all_proxy", "ALL_PROXY"), first_set("no_proxy", "NO_PROXY"));
}

EnvProxy EnvProxy::from_values(const char* http, const char* https, const char* all, const char* no_proxy) {
  EnvProxy result;
  result.http_ = parse_proxy(http != nullptr ? http : all);
  result.https_ = parse_proxy(https != nullptr ? https : all);
  std::string_view rest = no_proxy != nullptr ? no_proxy : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of(", "), rest.size());
    std::string entry(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (entry == "*") result.none_ = true;
    if (entry.starts_with("*.")) entry.erase(0, 2);
    if (entry.starts_with(".")) entry.erase(0, 1);
    std::transform(entry.begin(), entry.end(), entry.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (!entry.empty()) result.exceptions_.push_back(std::move(entry));
  }
  return result;
}

const Proxy* EnvProxy::for_url(const Url& url) const {
  const std::optional<Proxy>& proxy = url.https ? https_ : http_;
  if (!proxy || none_ || is_this_machine(url)) return nullptr;
  for (const std::string& entry : exceptions_) {
    if (url.host == entry) return nullptr;
    if (!url.literal && url.host.size() > entry.size() && url.host.ends_with(entry) &&
        url.host[url.host.size() - entry.size() - 1] == '.') {
      return nullptr;
    }
    const Result<Cidr> block = Cidr::parse(entry);
    const std::optional<IpAddress> address = url.literal ? IpAddress::parse(url.host) : std::nullopt;
    if (block.ok() && address && block.value().contains(*address)) return nullptr;
  }
  return &*proxy;
}

}  // namespace offloop::fetch
