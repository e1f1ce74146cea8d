// Many transfers: the limits hold, and each transfer ends once.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::CountedHandler;
using testing::Counter;
using testing::FetchProbe;
using testing::get;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::ScriptedServer;
using testing::start_all;

TEST(Limits, MaxConcurrentHolds) {
  ScriptedServer server;
  CountedHandler handler;
  server.on("/", std::ref(handler));
  FetcherOptions options;
  options.max_concurrent = 3;
  options.timeout = 60;
  const auto fetcher = make_fetcher(options);
  std::deque<FetchProbe> probes;
  start_all(*fetcher, std::vector<std::string>(30, server.url("/")), probes);
  ASSERT_TRUE(handler.arrived.wait_for_at_least(3));
  EXPECT_EQ(fetcher->stats().running, 3U);
  EXPECT_EQ(fetcher->stats().queued, 27U);
  handler.go.open();
  for (FetchProbe& probe : probes) EXPECT_EQ(probe.wait(), ErrorCode::kOk);
  EXPECT_EQ(handler.running.highest(), 3);
  EXPECT_LE(server.connections(), 3);
}

TEST(Limits, PerHostHoldsAndDoesNotBlockOtherHosts) {
  ScriptedServer server;
  CountedHandler slow;
  server.on("/slow", std::ref(slow));
  server.on("/fast", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  FetcherOptions options;
  options.max_concurrent = 10;
  options.per_host = 2;
  options.timeout = 60;
  options.resolve = {"one.test:127.0.0.1", "two.test:127.0.0.1"};
  const auto fetcher = make_fetcher(options);
  const std::string port = std::to_string(server.port());
  std::deque<FetchProbe> busy, other;
  start_all(*fetcher, std::vector<std::string>(20, "http://one.test:" + port + "/slow"), busy);
  start_all(*fetcher, std::vector<std::string>(20, "http://two.test:" + port + "/fast"), other);
  for (FetchProbe& probe : other) EXPECT_EQ(probe.wait(), ErrorCode::kOk) << "behind 20 of a slow host";
  ASSERT_TRUE(slow.arrived.wait_for_at_least(2));
  EXPECT_EQ(fetcher->stats().running, 2U);
  slow.go.open();
  for (FetchProbe& probe : busy) EXPECT_EQ(probe.wait(), ErrorCode::kOk);
  EXPECT_EQ(slow.running.highest(), 2);
}

TEST(Limits, PerHostHoldsForTheTargetsOfRedirects) {
  ScriptedServer server;
  CountedHandler target;
  server.on("/target", std::ref(target));
  const std::string location = "http://target.test:" + std::to_string(server.port()) + "/target";
  server.on("/from", [&](Connection& c, const HttpRequest&) { c.reply(302, "", "Location: " + location + "\r\n"); });
  FetcherOptions options;
  options.max_concurrent = 16;
  options.per_host = 3;
  options.timeout = 60;
  options.resolve = {"target.test:127.0.0.1"};
  const auto fetcher = make_fetcher(options);
  std::deque<FetchProbe> probes;
  start_all(*fetcher, std::vector<std::string>(20, server.url("/from")), probes);
  ASSERT_TRUE(target.arrived.wait_for_at_least(3));
  target.go.open();
  for (FetchProbe& probe : probes) EXPECT_EQ(probe.wait(), ErrorCode::kOk) << probe.error.message;
  EXPECT_LE(target.running.highest(), 3);
}

TEST(Limits, QueueTimeDoesNotCountAsTimeout) {
  ScriptedServer server;
  CountedHandler handler;
  server.on("/first", std::ref(handler));
  server.on("/second", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  FetcherOptions options;
  options.max_concurrent = 1;
  options.timeout = 60;
  const auto fetcher = make_fetcher(options);
  FetchProbe first, second;
  ASSERT_TRUE(fetcher->start(get(server.url("/first")), &first).ok());
  ASSERT_TRUE(handler.arrived.wait_for_at_least(1));
  // Its timeout passes while it waits; the clock starts when its place is free.
  ASSERT_TRUE(fetcher->start({server.url("/second"), Method::kGet, {}, 0.2, {}}, &second).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  handler.go.open();
  EXPECT_EQ(second.wait(), ErrorCode::kOk) << second.error.message;
  EXPECT_GT(second.info->timings.queue_ns, 200'000'000);
}

TEST(Many, AThousandTransfersAtOnceEndOnceEach) {
  constexpr int kTransfers = 1000;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < 3 * kTransfers) GTEST_SKIP() << "too few descriptors allowed";

  ScriptedServer server;
  Counter arrived;
  server.on("/", [&](Connection& c, const HttpRequest& r) {
    arrived.add();
    arrived.wait_for_at_least(kTransfers);  // nobody is answered before everybody has asked
    c.reply(200, r.target);
  });
  FetcherOptions options;
  options.max_concurrent = kTransfers;
  options.connect_timeout = options.timeout = 120;
  options.low_speed_time = 0;
  const auto fetcher = make_fetcher(options);
  std::deque<FetchProbe> probes;
  std::vector<std::string> urls;
  for (int i = 0; i < kTransfers; ++i) urls.push_back(server.url("/?" + std::to_string(i)));
  start_all(*fetcher, urls, probes);
  for (int i = 0; i < kTransfers; ++i) {
    FetchProbe& probe = probes[static_cast<std::size_t>(i)];
    ASSERT_EQ(probe.wait(), ErrorCode::kOk) << probe.error.message;
    EXPECT_EQ(probe.body, "/?" + std::to_string(i));
  }
  EXPECT_EQ(fetcher->stats().done, static_cast<std::uint64_t>(kTransfers));
}

TEST(Many, SeveralIoThreadsShareOneHostAndKeepTheLimit) {
  ScriptedServer server;
  CountedHandler handler;
  handler.go.open();
  server.on("/", std::ref(handler));
  FetcherOptions options;
  options.io_threads = 3;
  options.max_concurrent = 9;
  const auto fetcher = make_fetcher(options);
  std::deque<FetchProbe> probes;
  start_all(*fetcher, std::vector<std::string>(500, server.url("/")), probes);
  for (FetchProbe& probe : probes) ASSERT_EQ(probe.wait(), ErrorCode::kOk) << probe.error.message;
  EXPECT_LE(handler.running.highest(), 9);
}

TEST(Many, SubmittersOnSeveralThreadsCancelsAndRestartsFromCallbacksLoseNothing) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, std::string(20'000, 'x')); });
  FetcherOptions options;
  options.io_threads = 2;
  options.max_concurrent = 8;
  const auto fetcher = make_fetcher(options);
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  std::vector<std::deque<FetchProbe>> probes(kThreads);
  std::deque<FetchProbe> restarted;
  for (int i = 0; i < kThreads * kEach; ++i) restarted.emplace_back();
  std::vector<std::thread> threads;
  std::atomic<int> next{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        FetchProbe& probe = probes[static_cast<std::size_t>(t)].emplace_back();
        probe.when_done = [&] {
          const auto id = fetcher->start(get(server.url("/")), &restarted[static_cast<std::size_t>(next.fetch_add(1))]);
          EXPECT_TRUE(id.ok());
        };
        const auto id = fetcher->start(get(server.url("/")), &probe);
        ASSERT_TRUE(id.ok());
        if (i % 3 == 0) fetcher->cancel(id.value());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int stopped = 0;
  for (auto& list : probes) {
    for (FetchProbe& probe : list) {
      const ErrorCode code = probe.wait();
      EXPECT_TRUE(code == ErrorCode::kOk || code == ErrorCode::kStopped) << probe.error.message;
      stopped += code == ErrorCode::kStopped ? 1 : 0;
    }
  }
  for (FetchProbe& probe : restarted) EXPECT_EQ(probe.wait(), ErrorCode::kOk);
  EXPECT_GT(stopped, 0);
  ASSERT_TRUE(fetcher->close(true, 60));
  EXPECT_EQ(fetcher->stats().stopped, static_cast<std::uint64_t>(stopped));
  EXPECT_EQ(fetcher->stats().queued + fetcher->stats().running, 0U);
}

}  // namespace
}  // namespace offloop::fetch
