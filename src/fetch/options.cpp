#include "offloop/fetch/options.h"

#include <cmath>
#include <sstream>

#include "fetch/request_headers.h"
#include "fetch/resolver.h"

namespace offloop::fetch {
namespace {

constexpr unsigned kMaxIoThreads = 64;
constexpr unsigned kMaxConcurrent = 65536;
constexpr unsigned kMaxRedirects = 100;
constexpr double kMaxSeconds = 30.0 * 24 * 3600;  // libcurl counts milliseconds in a long

Error bad(const std::string& what) {
  return Error(ErrorCode::kInvalidArgument, what);
}

/// "name must be 1 to 64, got 0"; empty when it is.
std::string outside(const char* name, unsigned value, unsigned low, unsigned high) {
  if (value >= low && value <= high) return {};
  std::ostringstream text;
  text << name << " must be " << low << " to " << high << ", got " << value;
  return text.str();
}

std::string bad_seconds(const char* name, double value) {
  if (value > 0 && (value <= kMaxSeconds || std::isinf(value))) return {};  // false for NaN
  std::ostringstream text;
  text << name << " must be greater than 0 and at most " << kMaxSeconds << " seconds, got " << value;
  return text.str();
}

}  // namespace

Result<Unit> validate(const FetcherOptions& options) {
  if (options.max_concurrent == 0) return bad("max_concurrent must be greater than 0, got 0");
  for (const std::string& text : {
           outside("io_threads", options.io_threads, 1, kMaxIoThreads),
           outside("max_concurrent", options.max_concurrent, 1, kMaxConcurrent),
           outside("max_redirects", options.max_redirects, 0, kMaxRedirects),
           bad_seconds("connect_timeout", options.connect_timeout),
           bad_seconds("timeout", options.timeout),
       }) {
    if (!text.empty()) return bad(text);
  }
  if (options.low_speed_time > kMaxSeconds) return bad("low_speed_time is too large");
  if (options.user_agent.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
    return bad("user_agent must be one line");
  }
  if (options.ca_file.find('\0') != std::string::npos) return bad("ca_file contains a null character");
  if (Result<Unit> headers = check_headers(options.headers); !headers) return headers;
  if (auto policy = AddressPolicy::create(options.addresses, options.allow_cidrs, options.deny_cidrs); !policy) {
    return std::move(policy).error();
  }
  if (auto overrides = parse_overrides(options.resolve); !overrides) return std::move(overrides).error();
  return Unit{};
}

}  // namespace offloop::fetch
