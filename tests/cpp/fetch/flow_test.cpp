// Many transfers: limits, cancellation, pausing, closing, forking.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fetch/resolver.h"
#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::Counter;
using testing::fetch_one;
using testing::FetchProbe;
using testing::Gate;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::ScriptedServer;

Request get(const std::string& url) {
  return {url, Method::kGet, {}, {}, {}};
}

std::vector<TransferId> start_all(Fetcher& fetcher, const std::vector<std::string>& urls,
                                  std::deque<FetchProbe>& probes) {
  std::vector<Fetcher::Start> starts;
  for (const std::string& url : urls) starts.push_back({get(url), &probes.emplace_back()});
  std::vector<TransferId> ids;
  for (const auto& id : fetcher.start_many(starts)) {
    EXPECT_TRUE(id.ok());
    ids.push_back(id.ok() ? id.value() : 0);
  }
  return ids;
}

/// Counts the requests that are being answered. Ends the count before the last byte, which lets the client go on.
struct CountedHandler {
  Counter running;
  Counter arrived;
  Gate go;
  void operator()(Connection& c, const HttpRequest&) {
    running.add(1);
    arrived.add(1);
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
    go.wait();
    running.add(-1);
    c.send("b");
  }
};

TEST(Limits, MaxConcurrentHolds) {
  ScriptedServer server;
  CountedHandler handler;
  server.on("/", std::ref(handler));
  FetcherOptions options;
  options.max_concurrent = 3;
  options.timeout_s = 60;
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
  options.timeout_s = 60;
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
  options.timeout_s = 60;
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
  options.timeout_s = 60;
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
  options.connect_timeout_s = options.timeout_s = 120;
  options.low_speed_time_s = 0;
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

TEST(Cancel, AQueuedTransferNeverRuns) {
  ScriptedServer server;
  CountedHandler handler;
  server.on("/first", std::ref(handler));
  FetcherOptions options;
  options.max_concurrent = 1;
  const auto fetcher = make_fetcher(options);
  FetchProbe first, queued;
  ASSERT_TRUE(fetcher->start(get(server.url("/first")), &first).ok());
  ASSERT_TRUE(handler.arrived.wait_for_at_least(1));
  const auto id = fetcher->start(get(server.url("/queued")), &queued);
  fetcher->cancel(id.value());
  EXPECT_EQ(queued.wait(), ErrorCode::kStopped);
  handler.go.open();
  EXPECT_EQ(first.wait(), ErrorCode::kOk);
  EXPECT_EQ(server.requests(), 1);
  fetcher->cancel(id.value());  // long ended: nothing happens
  fetcher->cancel(0);
  fetcher->cancel(12345678);
}

TEST(Cancel, ARunningTransfersConnectionIsClosedAndTheOriginSeesIt) {
  ScriptedServer server;
  Gate asked, seen;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    asked.open();
    if (c.wait_until_client_closes()) seen.open();
    c.close();
  });
  const auto fetcher = make_fetcher();
  FetchProbe probe;
  const auto id = fetcher->start(get(server.url("/")), &probe);
  ASSERT_TRUE(asked.wait());
  fetcher->cancel(id.value());
  EXPECT_EQ(probe.wait(), ErrorCode::kStopped);
  EXPECT_TRUE(seen.wait());
}

TEST(Cancel, TheConsumerEndsItsTransferByAborting) {
  ScriptedServer server;
  Gate seen;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    if (c.wait_until_client_closes()) seen.open();
    c.close();
  });
  const auto fetcher = make_fetcher();
  FetchProbe probe;
  probe.decide = [](ByteSpan) { return Flow::kAbort; };
  ASSERT_TRUE(fetcher->start(get(server.url("/")), &probe).ok());
  EXPECT_EQ(probe.wait(), ErrorCode::kStopped);
  EXPECT_TRUE(seen.wait());
}

/// A look-up that waits until a test lets it go. Shared, because its thread is nobody's: it may still run after the
/// test.
struct Held {
  Gate entered;
  Gate go;
};

std::shared_ptr<Held> exchange_held(std::shared_ptr<Held> next, bool set) {
  static std::mutex mutex;
  static auto* const held = new std::shared_ptr<Held>;  // no destructor at exit, when a look-up may still run
  const std::lock_guard lock(mutex);
  if (set) *held = std::move(next);
  return *held;
}

Resolution held_look_up(const std::string&) {
  const std::shared_ptr<Held> held = exchange_held(nullptr, false);
  held->entered.open();
  held->go.wait();
  return {{"127.0.0.1"}, {}};
}

class HeldLookUp : public ::testing::Test {
 protected:
  HeldLookUp() { set_look_up_for_tests(&held_look_up); }
  ~HeldLookUp() override { set_look_up_for_tests(nullptr); }
  const std::shared_ptr<Held> held = exchange_held(std::make_shared<Held>(), true);
  Gate& entered = held->entered;
  Gate& go = held->go;
};

TEST_F(HeldLookUp, CancelReturnsAtOnceAlthoughTheLookUpGoesOn) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  const std::string url = "http://slow.test:" + std::to_string(server.port()) + "/";
  const auto fetcher = make_fetcher();
  FetchProbe cancelled, waiting;
  const auto id = fetcher->start(get(url), &cancelled);
  ASSERT_TRUE(fetcher->start({url, Method::kGet, {}, 60.0, {}}, &waiting).ok());
  ASSERT_TRUE(entered.wait());
  fetcher->cancel(id.value());
  EXPECT_EQ(cancelled.wait(), ErrorCode::kStopped);  // the gate is still closed
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "x") << "others go on meanwhile";
  go.open();
  EXPECT_EQ(waiting.wait(), ErrorCode::kOk) << waiting.error.message;
  EXPECT_EQ(fetcher->stats().lookups, 1U) << "one look-up serves all who wait";
}

TEST_F(HeldLookUp, ALookUpThatTakesTooLongIsATimeout) {
  FetcherOptions options;
  options.connect_timeout_s = 0.05;
  const auto fetcher = make_fetcher(options);
  const auto probe = fetch_one(*fetcher, "http://slow.test/");
  EXPECT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(probe->error.message, "0.05s while resolving the name");
  const auto total = fetch_one(*fetcher, Request{"http://slow.test/", Method::kGet, {}, 0.02, {}});
  EXPECT_EQ(total->error.message, "0.02s while resolving the name");
  go.open();
}

TEST_F(HeldLookUp, CloseDoesNotWaitForALookUp) {
  auto fetcher = make_fetcher();
  FetchProbe probe;
  ASSERT_TRUE(fetcher->start(get("http://slow.test/"), &probe).ok());
  ASSERT_TRUE(entered.wait());
  EXPECT_TRUE(fetcher->close(true, 60));
  EXPECT_EQ(probe.error.code, ErrorCode::kStopped);
  fetcher.reset();
  go.open();
}

TEST(Names, ANameIsResolvedOnceAndItsConnectionsAreReused) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest& r) { c.reply(200, r.header("Host")); });
  const auto fetcher = make_fetcher();
  const std::string host = "localhost:" + std::to_string(server.port());
  for (int i = 0; i < 3; ++i) {
    const auto probe = fetch_one(*fetcher, "http://" + host + "/");
    EXPECT_EQ(probe->body, host) << probe->error.message;
  }
  EXPECT_EQ(fetcher->stats().lookups, 1U);
  EXPECT_EQ(server.connections(), 1);
}

/// Pauses at every piece; a thread of its own resumes each time.
void pause_and_resume(ScriptedServer& server, const std::string& path, const std::string& expected) {
  const auto fetcher = make_fetcher();
  FetchProbe probe;
  bool refuse = true;
  probe.decide = [&](ByteSpan) { return std::exchange(refuse, !refuse) ? Flow::kPause : Flow::kContinue; };
  const auto id = fetcher->start({server.url(path), Method::kGet, {}, 60.0, {}}, &probe);
  std::atomic<bool> ended{false};
  std::thread resumer([&] {
    for (int n = 1; probe.paused.wait_for_at_least(n) && !ended.load(); ++n) fetcher->resume(id.value());
  });
  EXPECT_EQ(probe.wait(), ErrorCode::kOk) << probe.error.message;
  ended.store(true);
  const int pauses = probe.paused.value();
  probe.paused.add(1'000'000);
  resumer.join();
  EXPECT_EQ(probe.body.size(), expected.size());
  EXPECT_TRUE(probe.body == expected);
  EXPECT_GT(pauses, 1);
  EXPECT_EQ(probe.info->body_bytes, expected.size());
}

TEST(Pause, NoByteIsLostOrGivenTwice) {
  std::string body;
  for (int i = 0; i < 300'000; ++i) body += std::to_string(i) + ",";
  ScriptedServer server;
  server.on("/", [&](Connection& c, const HttpRequest&) { c.reply(200, body); });
  server.on("/chunked", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (std::size_t i = 0; i < body.size(); i += 50'000) {
      const std::string piece = body.substr(i, 50'000);
      char size[32];
      std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
      c.send(size + piece + "\r\n");
    }
    c.send("0\r\n\r\n");
  });
  pause_and_resume(server, "/", body);
  pause_and_resume(server, "/chunked", body);
}

TEST(Pause, CompressedBodiesLoseNothingEither) {
  std::string packed;
  FILE* pipe = popen("seq 1 300000 | gzip -c", "r");
  char buffer[65536];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) packed.append(buffer, got);
  pclose(pipe);
  std::string body;
  for (int i = 1; i <= 300'000; ++i) body += std::to_string(i) + "\n";
  ScriptedServer server;
  server.on("/", [&](Connection& c, const HttpRequest&) { c.reply(200, packed, "Content-Encoding: gzip\r\n"); });
  pause_and_resume(server, "/", body);
}

TEST(Pause, APausedTransferCanBeCancelled) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, std::string(1'000'000, 'x')); });
  const auto fetcher = make_fetcher();
  FetchProbe probe;
  probe.decide = [](ByteSpan) { return Flow::kPause; };
  const auto id = fetcher->start(get(server.url("/")), &probe);
  ASSERT_TRUE(probe.paused.wait_for_at_least(1));
  fetcher->cancel(id.value());
  EXPECT_EQ(probe.wait(), ErrorCode::kStopped);
  EXPECT_EQ(probe.body, "");
}

TEST(Close, EndsAHundredRunningAndAllQueued) {
  ScriptedServer server;
  Counter arrived, gone;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    arrived.add();
    if (c.wait_until_client_closes()) gone.add();
    c.close();
  });
  FetcherOptions options;
  options.io_threads = 2;
  options.max_concurrent = 100;
  options.timeout_s = 60;
  const auto fetcher = make_fetcher(options);
  std::deque<FetchProbe> probes;
  start_all(*fetcher, std::vector<std::string>(150, server.url("/")), probes);
  ASSERT_TRUE(arrived.wait_for_at_least(100));
  EXPECT_TRUE(fetcher->close(true, 60));
  for (FetchProbe& probe : probes) {
    EXPECT_EQ(probe.dones.load(), 1) << "every on_done has returned before close()";
    EXPECT_EQ(probe.error.code, ErrorCode::kStopped);
  }
  EXPECT_TRUE(gone.wait_for_at_least(100)) << "the origin sees the connections close";
  FetchProbe late;
  const auto refused = fetcher->start(get(server.url("/")), &late);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kPoolClosed);
  EXPECT_EQ(late.dones.load(), 0);
  EXPECT_TRUE(fetcher->close());
}

TEST(Close, WithoutUseStartsAndEndsNothing) {
  const auto fetcher = make_fetcher();
  EXPECT_TRUE(fetcher->close());
  FetchProbe probe;
  EXPECT_EQ(fetcher->start(get("http://127.0.0.1:1/"), &probe).error().code, ErrorCode::kPoolClosed);
}

TEST(Close, IsBoundedWhenAConsumerBlocks) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  Gate entered, go;
  auto probe = std::make_unique<FetchProbe>();
  probe->decide = [&](ByteSpan) {
    entered.open();
    go.wait();
    return Flow::kContinue;
  };
  auto fetcher = make_fetcher();
  ASSERT_TRUE(fetcher->start(get(server.url("/")), probe.get()).ok());
  ASSERT_TRUE(entered.wait());
  EXPECT_FALSE(fetcher->close(true, 0.01));
  fetcher.reset();
  go.open();  // the thread that was left alone ends by itself
  probe->wait();
}

TEST(Close, FromACallbackDoesNotWaitForItself) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  auto fetcher = make_fetcher();
  FetchProbe probe;
  probe.when_done = [&] { fetcher.reset(); };
  ASSERT_TRUE(fetcher->start(get(server.url("/")), &probe).ok());
  EXPECT_EQ(probe.wait(), ErrorCode::kOk);
}

TEST(Close, AllFetchersOfTheProcess) {
  ScriptedServer server;
  Counter arrived;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    arrived.add();
    c.wait_until_client_closes();
    c.close();
  });
  const auto one = make_fetcher();
  const auto two = make_fetcher();
  FetchProbe first, second;
  ASSERT_TRUE(one->start(get(server.url("/")), &first).ok());
  ASSERT_TRUE(two->start(get(server.url("/")), &second).ok());
  ASSERT_TRUE(arrived.wait_for_at_least(2));
  close_all_fetchers();
  EXPECT_EQ(first.wait(), ErrorCode::kStopped);
  EXPECT_EQ(second.wait(), ErrorCode::kStopped);
}

TEST(Fork, TheChildIsRefusedAndItsCleanUpLeavesTheParentAlone) {
  ScriptedServer server;
  Gate go;
  Counter arrived;
  server.on("/held", [&](Connection& c, const HttpRequest&) {
    arrived.add();
    go.wait();
    c.reply(200, "after the fork");
  });
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  auto fetcher = make_fetcher();
  fetch_one(*fetcher, server.url("/"));  // an idle connection besides the running one
  FetchProbe running;
  ASSERT_TRUE(fetcher->start({server.url("/held"), Method::kGet, {}, 60.0, {}}, &running).ok());
  ASSERT_TRUE(arrived.wait_for_at_least(1));

  const pid_t child = fork();
  if (child == 0) {
    FetchProbe probe;
    const auto refused = fetcher->start(get(server.url("/")), &probe);
    int wrong = 0;
    if (refused.ok() || refused.error().code != ErrorCode::kPoolClosed) wrong |= 1;
    if (!refused.ok() && refused.error().message.find("fork") == std::string::npos) wrong |= 2;
    fetcher->cancel(1);
    fetcher->resume(1);
    fetcher->close();
    if (fetcher->stats().running != 0) wrong |= 4;
    fetcher.reset();
    close_all_fetchers();
    _exit(wrong);
  }
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  go.open();
  EXPECT_EQ(running.wait(), ErrorCode::kOk) << running.error.message;
  EXPECT_EQ(running.body, "after the fork");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "x");
}

}  // namespace
}  // namespace offloop::fetch
