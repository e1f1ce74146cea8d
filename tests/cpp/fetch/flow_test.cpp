// Cancelling, pausing and name look-ups.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "fetch/resolver.h"
#include "support/coded_text.h"
#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::CountedHandler;
using testing::fetch_one;
using testing::FetchProbe;
using testing::Gate;
using testing::get;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::ScriptedServer;

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
  EXPECT_EQ(queued.starts, 0);
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
  options.connect_timeout = 0.05;
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
  std::string numbers;
  for (int i = 1; i <= 300'000; ++i) numbers += std::to_string(i) + "\n";
  // Little to read and much to give: many pauses within what libcurl gives at once.
  const std::string blanks(3'000'000, ' ');
  for (const std::string& body : {numbers, blanks}) {
    const std::string gzip = testing::gzip_packed(body);
    const std::string zstd = testing::zstd_packed(body);
    const std::string both = testing::gzip_packed(zstd);
    ScriptedServer server;
    server.on("/gzip", [&](Connection& c, const HttpRequest&) { c.reply(200, gzip, "Content-Encoding: gzip\r\n"); });
    server.on("/zstd", [&](Connection& c, const HttpRequest&) { c.reply(200, zstd, "Content-Encoding: zstd\r\n"); });
    server.on("/both",
              [&](Connection& c, const HttpRequest&) { c.reply(200, both, "Content-Encoding: zstd, gzip\r\n"); });
    for (const char* path : {"/gzip", "/zstd", "/both"}) pause_and_resume(server, path, body);
  }
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

}  // namespace
}  // namespace offloop::fetch
