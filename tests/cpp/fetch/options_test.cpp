#include "offloop/fetch/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "fetch/env_proxy.h"
#include "offloop/fetch/fetcher.h"

namespace offloop::fetch {
namespace {

TEST(Options, TheDefaultsAreValid) {
  EXPECT_TRUE(validate(FetcherOptions{}).ok());
}

TEST(Options, ABadValueNamesItsOption) {
  struct Case {
    const char* name;
    std::function<void(FetcherOptions&)> change;
  };
  const double nan = std::nan("");
  for (const Case& test : {
           Case{"max_concurrent must be greater than 0, got 0", [](auto& o) { o.max_concurrent = 0; }},
           Case{"max_concurrent", [](auto& o) { o.max_concurrent = 1'000'000; }},
           Case{"io_threads must be 1 to 64, got 0", [](auto& o) { o.io_threads = 0; }},
           Case{"io_threads", [](auto& o) { o.io_threads = 65; }},
           Case{"timeout", [](auto& o) { o.timeout = 0; }},
           Case{"timeout", [](auto& o) { o.timeout = -1; }},
           Case{"timeout", [nan](auto& o) { o.timeout = nan; }},
           Case{"timeout", [](auto& o) { o.timeout = 1e300; }},
           Case{"connect_timeout", [](auto& o) { o.connect_timeout = 0; }},
           Case{"max_redirects", [](auto& o) { o.max_redirects = 1000; }},
           Case{"user_agent", [](auto& o) { o.user_agent = "a\r\nb: c"; }},
           Case{"header",
                [](auto& o) {
                  o.headers = {{"A b", "c"}};
                }},
           Case{"header",
                [](auto& o) {
                  o.headers = {{"", "c"}};
                }},
           Case{"header",
                [](auto& o) {
                  o.headers = {{"A", "c\r\nd: e"}};
                }},
           Case{"Content-Length",
                [](auto& o) {
                  o.headers = {{"Content-Length", "1"}};
                }},
           Case{"allow_cidrs", [](auto& o) { o.allow_cidrs = {"x"}; }},
           Case{"deny_cidrs", [](auto& o) { o.deny_cidrs = {"10.0.0.0/40"}; }},
           Case{"resolve", [](auto& o) { o.resolve = {"host"}; }},
           Case{"resolve", [](auto& o) { o.resolve = {"host:name"}; }},
       }) {
    FetcherOptions options;
    test.change(options);
    const Result<Unit> result = validate(options);
    ASSERT_FALSE(result.ok()) << test.name;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(test.name), std::string::npos) << result.error().message;
    EXPECT_FALSE(Fetcher::create(options).ok());
  }
}

TEST(Options, InfinityMeansNoTimeout) {
  FetcherOptions options;
  options.timeout = options.connect_timeout = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(validate(options).ok());
}

TEST(Options, AMissingCaFileIsReportedAtOnce) {
  FetcherOptions options;
  options.ca_file = "/nonexistent/ca.pem";
  const auto fetcher = Fetcher::create(options);
  ASSERT_FALSE(fetcher.ok());
  EXPECT_EQ(fetcher.error().code, ErrorCode::kIo);
  EXPECT_EQ(fetcher.error().context, "/nonexistent/ca.pem");
}

TEST(EnvProxy, IsChosenBySchemeAndLeavesOutItsExceptions) {
  const EnvProxy proxy = EnvProxy::from_values("http://proxy.test:3128", "proxy2.test", nullptr,
                                               "internal.test, .corp.test,10.0.0.0/8,*.wild.test");
  const auto chosen = [&](const char* url) -> std::string {
    const Proxy* found = proxy.for_url(parse_url(url).value());
    return found != nullptr ? found->host + ":" + std::to_string(found->port) : "direct";
  };
  EXPECT_EQ(chosen("http://example.test/"), "proxy.test:3128");
  EXPECT_EQ(chosen("https://example.test/"), "proxy2.test:1080");
  EXPECT_EQ(chosen("http://internal.test/"), "direct");
  EXPECT_EQ(chosen("http://a.internal.test/"), "direct");
  EXPECT_EQ(chosen("http://notinternal.test/"), "proxy.test:3128");
  EXPECT_EQ(chosen("http://x.corp.test/"), "direct");
  EXPECT_EQ(chosen("http://x.wild.test/"), "direct");
  EXPECT_EQ(chosen("http://10.1.2.3/"), "direct");
  EXPECT_EQ(chosen("http://11.1.2.3/"), "proxy.test:3128");
  EXPECT_EQ(chosen("http://localhost/"), "direct");
  EXPECT_EQ(chosen("http://127.0.0.9/"), "direct");
  EXPECT_EQ(chosen("http://[::1]/"), "direct");
}

TEST(EnvProxy, AStarTurnsProxiesOff) {
  const EnvProxy proxy = EnvProxy::from_values(nullptr, nullptr, "http://proxy.test:1", "*");
  EXPECT_EQ(proxy.for_url(parse_url("http://example.test/").value()), nullptr);
}

}  // namespace
}  // namespace offloop::fetch
