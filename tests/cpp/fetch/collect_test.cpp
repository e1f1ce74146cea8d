// A whole body in memory.
#include "offloop/fetch/collect.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <optional>

#include "support/counters_listener.h"
#include "support/fetch_probe.h"

namespace offloop::fetch {
namespace {

using offloop::testing::Connection;
using offloop::testing::Gate;
using offloop::testing::HttpRequest;
using offloop::testing::make_fetcher;
using offloop::testing::ScriptedServer;

std::string text(const OwnedBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.span().data()), bytes.size()};
}

ByteSpan span_of(const std::string& bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

Request request_of(const std::string& url) {
  return {url, Method::kGet, {}, {}, {}};
}

class Job final : public CollectJob {
 public:
  std::function<void()> at_end;
  ErrorCode wait() {
    EXPECT_TRUE(done_.wait()) << "ended() did not come";
    return result_->ok() ? ErrorCode::kOk : result_->error().code;
  }
  [[nodiscard]] const CollectedBody& body() const { return result_->value(); }
  [[nodiscard]] const Error& error() const { return result_->error(); }

 private:
  void ended(Result<CollectedBody> result) noexcept override {
    EXPECT_FALSE(result_.has_value()) << "ended twice";
    if (at_end) at_end();
    result_.emplace(std::move(result));
    done_.open();
  }
  std::optional<Result<CollectedBody>> result_;
  Gate done_;
};

std::size_t address_space_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0;
  statm >> pages;
  return pages * 4096;
}

TEST(OwnedBytes, GrowsAndMoves) {
  OwnedBytes bytes;
  EXPECT_EQ(bytes.size(), 0U);
  EXPECT_TRUE(bytes.reserve(10));
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(static_cast<std::size_t>(i % 37), static_cast<char>('a' + i % 26));
    ASSERT_TRUE(bytes.append(span_of(piece)));
    expected += piece;
  }
  EXPECT_TRUE(bytes.reserve(5)) << "less than there is changes nothing";
  EXPECT_EQ(text(bytes), expected);
  const std::uint8_t* where = bytes.span().data();
  OwnedBytes moved = std::move(bytes);
  EXPECT_EQ(moved.span().data(), where) << "moved, not copied";
  EXPECT_EQ(text(moved), expected);
  OwnedBytes other;
  ASSERT_TRUE(other.append(span_of("x")));
  other = std::move(moved);
  EXPECT_EQ(text(other), expected);
}

TEST(Collect, GivesTheBodyOfEveryKindOfAnswer) {
  std::string large(3'000'001, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 131 >> 3);
  ScriptedServer server;
  server.on("/large", [&](Connection& c, const HttpRequest&) { c.reply(200, large, "X-Name: value\r\n"); });
  server.on("/empty", [](Connection& c, const HttpRequest&) { c.reply(200, ""); });
  server.on("/close", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n\r\n" + large);  // as long as the connection
    c.close();
  });
  server.on("/chunked", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  });
  const auto fetcher = make_fetcher();
  const auto body_of = [&](const char* path, const std::string& expected) {
    Job job;
    ASSERT_TRUE(job.start(*fetcher, request_of(server.url(path))).ok());
    ASSERT_EQ(job.wait(), ErrorCode::kOk) << path;
    EXPECT_TRUE(text(job.body().body) == expected) << path;
    EXPECT_EQ(job.body().info.body_bytes, expected.size()) << path;
    EXPECT_EQ(job.body().info.status, 200);
  };
  body_of("/large", large);
  body_of("/empty", "");
  body_of("/close", large);
  body_of("/chunked", "abcde");
}

TEST(Collect, AContentLengthIsAClaimThatReservesLittle) {
  ScriptedServer server;
  const std::size_t claim = std::size_t{6} << 30;
  server.on("/lie", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(claim) + "\r\n\r\nonly this");
    c.close();
  });
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "first"); });
  FetcherOptions options;
  options.max_body = std::uint64_t{1} << 40;
  const auto fetcher = make_fetcher(options);
  Job first;  // what libcurl and the threads take is there before the measurement
  ASSERT_TRUE(first.start(*fetcher, request_of(server.url("/"))).ok());
  ASSERT_EQ(first.wait(), ErrorCode::kOk);

  Job job;
  const std::size_t before = address_space_bytes();
  std::size_t during = 0;
  job.at_end = [&] { during = address_space_bytes(); };  // its bytes are still there
  ASSERT_TRUE(job.start(*fetcher, request_of(server.url("/lie"))).ok());
  EXPECT_EQ(job.wait(), ErrorCode::kIncompleteBody);
  EXPECT_LT(during, before + (std::size_t{2} << 30));
}

TEST(Collect, AFailureGivesTheErrorAndNoBody) {
  ScriptedServer server;
  server.on("/status", [](Connection& c, const HttpRequest&) { c.reply(503, "come back"); });
  server.on("/cut", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    c.close();
  });
  const auto fetcher = make_fetcher();
  Job status, cut, invalid;
  ASSERT_TRUE(status.start(*fetcher, request_of(server.url("/status"))).ok());
  EXPECT_EQ(status.wait(), ErrorCode::kHttpStatus);
  EXPECT_EQ(status.error().system, 503);
  ASSERT_TRUE(cut.start(*fetcher, request_of(server.url("/cut"))).ok());
  EXPECT_EQ(cut.wait(), ErrorCode::kIncompleteBody);
  EXPECT_EQ(invalid.start(*fetcher, request_of("ftp://nowhere/")).error().code, ErrorCode::kInvalidUrl);
}

TEST(Collect, CancelClosesTheConnection) {
  ScriptedServer server;
  Gate sent;
  Gate closed;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    sent.open();
    if (c.wait_until_client_closes()) closed.open();
    c.close();
  });
  const auto fetcher = make_fetcher();
  Job job;
  ASSERT_TRUE(job.start(*fetcher, request_of(server.url("/"))).ok());
  ASSERT_TRUE(sent.wait());
  job.cancel();
  EXPECT_EQ(job.wait(), ErrorCode::kStopped);
  EXPECT_TRUE(closed.wait());
}

TEST(Collect, AJobMayBeDeletedInItsEnd) {
  struct Own final : CollectJob {
    explicit Own(Gate& gate) : done(gate) {}
    void ended(Result<CollectedBody> result) noexcept override {
      EXPECT_TRUE(result.ok());
      Gate& gate = done;
      delete this;
      gate.open();
    }
    Gate& done;
  };
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "body"); });
  const auto fetcher = make_fetcher();
  Gate done;
  ASSERT_TRUE((new Own(done))->start(*fetcher, request_of(server.url("/"))).ok());
  EXPECT_TRUE(done.wait());
}

}  // namespace
}  // namespace offloop::fetch
