// No descriptor is left: an error that says so, no transfer lost, no thread that spins, and all is well when some are
// free.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::fetch_one;
using testing::FetchProbe;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::ScriptedServer;
using testing::start_all;

/// Holds every descriptor of the process until release().
class AllDescriptors {
 public:
  AllDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit few = before_;
    few.rlim_cur = 256;
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) held_.push_back(fd);
  }
  ~AllDescriptors() { release(); }
  AllDescriptors(const AllDescriptors&) = delete;
  AllDescriptors& operator=(const AllDescriptors&) = delete;

  void release() {
    for (const int fd : held_) ::close(fd);
    held_.clear();
    setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_{};
  std::vector<int> held_;
};

class Descriptors : public ::testing::Test {
 protected:
  Descriptors() {
    server_.on("/", [](Connection& c, const HttpRequest&) {
      c.reply(200, "fine", "Connection: close\r\n");
      c.close();
    });
    // So that no descriptor comes back, late, from the first request of a test.
    server_.on("/kept", [](Connection& c, const HttpRequest&) { c.reply(200, "fine"); });
  }
  /// Another name for the server, so that neither uses connections of the other.
  [[nodiscard]] std::string by_name(const std::string& path) const {
    return "http://localhost:" + std::to_string(server_.port()) + path;
  }
  ScriptedServer server_;
};

TEST_F(Descriptors, NoSocketIsAConnectErrorThatSaysWhy) {
  const auto fetcher = make_fetcher();
  ASSERT_EQ(fetch_one(*fetcher, by_name("/kept"))->body, "fine");  // the threads run
  AllDescriptors none;
  const std::vector<std::string> urls(300, server_.url("/"));
  std::deque<FetchProbe> probes;
  start_all(*fetcher, urls, probes);
  for (FetchProbe& probe : probes) {
    EXPECT_EQ(probe.wait(), ErrorCode::kConnect);
    EXPECT_EQ(probe.error.message, "no socket: Too many open files");
    EXPECT_TRUE(is_retryable(probe.error.code));
  }
  const std::uint64_t before = fetcher->stats().wakes;
  usleep(300'000);
  EXPECT_LT(fetcher->stats().wakes - before, 100U) << "something spins";
  none.release();
  std::deque<FetchProbe> again;
  start_all(*fetcher, urls, again);
  for (FetchProbe& probe : again) EXPECT_EQ(probe.wait(), ErrorCode::kOk) << probe.error.message;
}

TEST_F(Descriptors, ANameThatCouldNotBeAskedForIsAskedForAgain) {
#if defined(__SANITIZE_ADDRESS__)
  // UBSan's check of virtual pointers opens a pipe to see whether memory may be read, and takes a failure for bad
  // memory.
  GTEST_SKIP() << "the sanitizer needs descriptors of its own";
#endif
  const std::string url = by_name("/");
  const auto fetcher = make_fetcher();
  ASSERT_EQ(fetch_one(*fetcher, server_.url("/kept"))->body, "fine");  // the threads run
  AllDescriptors none;
  const auto probe = fetch_one(*fetcher, url);
  EXPECT_EQ(probe->error.code, ErrorCode::kDns);
  EXPECT_EQ(probe->error.message, "host name cannot be resolved: Too many open files");
  EXPECT_TRUE(is_retryable(probe->error));
  none.release();
  EXPECT_EQ(fetch_one(*fetcher, url)->body, "fine");
}

TEST_F(Descriptors, AFetcherThatCannotBeMadeIsAnIoErrorAndLeavesNothing) {
  AllDescriptors none;
  for (unsigned n = 0; n < 3; ++n) {
    FetcherOptions options;
    options.io_threads = 4;
    const auto fetcher = Fetcher::create(options);
    ASSERT_FALSE(fetcher.ok());
    EXPECT_EQ(fetcher.error().code, ErrorCode::kIo);
    EXPECT_EQ(fetcher.error().system, EMFILE);
  }
  none.release();
  EXPECT_EQ(fetch_one(*make_fetcher(), server_.url("/"))->body, "fine");
}

}  // namespace
}  // namespace offloop::fetch
