// What a transfer gives when the server behaves.
#include "offloop/fetch/fetcher.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <string>

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

std::string command_output(const char* command) {
  std::string output;
  FILE* pipe = popen(command, "r");
  std::array<char, 65536> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), got);
  pclose(pipe);
  return output;
}

TEST(Fetcher, GivesStatusHeadersBodyAndTimings) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "hello", "X-One: 1\r\nx-two:  2 \r\n"); });
  const auto fetcher = make_fetcher();
  const auto probe = fetch_one(*fetcher, server.url("/"));
  ASSERT_TRUE(probe->info) << probe->error.message;
  EXPECT_EQ(probe->body, "hello");
  EXPECT_EQ(probe->content_length, 5);
  EXPECT_EQ(probe->info->status, 200);
  EXPECT_EQ(probe->info->headers.find("x-one"), "1");
  EXPECT_EQ(probe->info->headers.find("X-Two"), "2");
  EXPECT_EQ(probe->info->headers.find("absent"), "");
  EXPECT_EQ(probe->info->headers.list().size(), 3U);
  EXPECT_EQ(probe->info->final_url, server.url("/"));
  EXPECT_EQ(probe->info->body_bytes, 5U);
  EXPECT_EQ(probe->info->peer_ip, "127.0.0.1");
  EXPECT_EQ(probe->info->http_version, 11);
  EXPECT_FALSE(probe->info->reused_connection);
  EXPECT_GT(probe->info->timings.total_ns, 0);
  EXPECT_GE(probe->info->timings.total_ns, probe->info->timings.connect_ns);
}

TEST(Fetcher, KeepsConnectionsAlive) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  const auto fetcher = make_fetcher();
  for (int i = 0; i < 5; ++i) {
    const auto probe = fetch_one(*fetcher, server.url("/"));
    ASSERT_TRUE(probe->info);
    EXPECT_EQ(probe->info->reused_connection, i > 0);
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(fetcher->stats().connections_opened, 1U);
  EXPECT_EQ(fetcher->stats().done, 5U);
}

TEST(Fetcher, AConnectionClosedWhileIdleIsReplaced) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) {
    c.reply(200, "x");
    c.close();  // without announcing it
  });
  const auto fetcher = make_fetcher();
  for (int i = 0; i < 20; ++i) {
    const auto probe = fetch_one(*fetcher, server.url("/"));
    ASSERT_TRUE(probe->info) << "transfer " << i << ": " << probe->error.message;
  }
  EXPECT_EQ(server.requests(), 20);
}

TEST(Fetcher, AKeptConnectionThatDiesWhenUsedIsReplacedHoweverOften) {
  ScriptedServer server;
  std::atomic<int> last_answered{-1};
  server.on("/", [&](Connection& c, const HttpRequest&) {
    if (last_answered.exchange(c.number()) == c.number()) return c.reset();  // a second request on one connection
    c.reply(200, "x");
  });
  const auto fetcher = make_fetcher();
  for (int i = 0; i < 20; ++i) {
    const auto probe = fetch_one(*fetcher, server.url("/"));
    ASSERT_TRUE(probe->info) << "transfer " << i << ": " << probe->error.message;
  }
  EXPECT_EQ(server.connections(), 20);
}

TEST(Fetcher, ReadsChunkedBodiesAndEmptyOnes) {
  ScriptedServer server;
  server.on("/chunked", [](Connection& c, const HttpRequest&) {
    c.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: "
        "t\r\n\r\n");
  });
  server.on("/empty", [](Connection& c, const HttpRequest&) { c.reply(200, ""); });
  server.on("/none", [](Connection& c, const HttpRequest&) { c.send("HTTP/1.1 204 No\r\n\r\n"); });
  server.on("/until-close", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    c.close();
  });
  const auto fetcher = make_fetcher();
  const auto chunked = fetch_one(*fetcher, server.url("/chunked"));
  EXPECT_EQ(chunked->body, "hello world");
  EXPECT_EQ(chunked->content_length, -1);
  ASSERT_TRUE(chunked->info);
  EXPECT_EQ(chunked->info->headers.find("trailer"), "");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/empty"))->content_length, 0);
  EXPECT_EQ(fetch_one(*fetcher, server.url("/none"))->status, 204);
  EXPECT_EQ(fetch_one(*fetcher, server.url("/until-close"))->body, "all of it");
}

TEST(Fetcher, InterimAnswersAreSkipped) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    c.reply(200, "final", "A: b\r\n");
  });
  const auto fetcher = make_fetcher();
  const auto probe = fetch_one(*fetcher, server.url("/"));
  ASSERT_TRUE(probe->info);
  EXPECT_EQ(probe->status, 200);
  EXPECT_EQ(probe->info->headers.find("link"), "");
  EXPECT_EQ(probe->body, "final");
}

TEST(Fetcher, DecodesGzipUnlessToldNotTo) {
  const std::string packed = command_output("printf 'the body the body the body' | gzip -c");
  ASSERT_GT(packed.size(), 10U);
  ScriptedServer server;
  server.on("/", [&](Connection& c, const HttpRequest& r) {
    c.reply(200, packed, "Content-Encoding: gzip\r\nAsked: " + r.header("Accept-Encoding") + "\r\n");
  });
  const auto decoding = fetch_one(*make_fetcher(), server.url("/"));
  ASSERT_TRUE(decoding->info) << decoding->error.message;
  EXPECT_EQ(decoding->body, "the body the body the body");
  EXPECT_EQ(decoding->content_length, -1);
  EXPECT_NE(decoding->info->headers.find("asked").find("gzip"), std::string::npos);
  EXPECT_NE(decoding->info->headers.find("asked").find("br"), std::string::npos);

  FetcherOptions options;
  options.decompress = false;
  const auto raw = fetch_one(*make_fetcher(options), server.url("/"));
  ASSERT_TRUE(raw->info);
  EXPECT_EQ(raw->body, packed);
  EXPECT_EQ(raw->info->headers.find("asked"), "");
}

TEST(Fetcher, SendsItsHeadersAndTheRequestsOwn) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest& r) { c.reply(200, r.head); });
  FetcherOptions options;
  options.headers = {{"X-All", "every"}, {"X-Both", "default"}};
  options.user_agent = "tester/1 (+mailto:someone@example.test)";
  const auto fetcher = make_fetcher(options);
  const auto own =
      fetch_one(*fetcher, Request{server.url("/"), Method::kGet, {{"x-both", "own"}, {"X-Empty", ""}}, {}, {}});
  EXPECT_NE(own->body.find("X-All: every\r\n"), std::string::npos);
  EXPECT_NE(own->body.find("x-both: own\r\n"), std::string::npos);
  EXPECT_EQ(own->body.find("X-Both: default"), std::string::npos);
  EXPECT_NE(own->body.find("X-Empty:"), std::string::npos);
  EXPECT_NE(own->body.find("User-Agent: tester/1 (+mailto:someone@example.test)\r\n"), std::string::npos);
  // A handle that served a request with headers of its own goes back to the common ones.
  const auto plain = fetch_one(*fetcher, server.url("/"));
  EXPECT_NE(plain->body.find("X-Both: default\r\n"), std::string::npos);
  EXPECT_EQ(plain->body.find("own"), std::string::npos);
}

TEST(Fetcher, CredentialsOfOneUrlAreNotSentWithTheNext) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest& r) { c.reply(200, "[" + r.header("Authorization") + "]"); });
  const auto fetcher = make_fetcher();
  const std::string with = "http://user:secret@127.0.0.1:" + std::to_string(server.port()) + "/";
  EXPECT_EQ(fetch_one(*fetcher, with)->body, "[Basic dXNlcjpzZWNyZXQ=]");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "[]");
}

TEST(Fetcher, HeadHasNoBodyAndGetWorksAfterwards) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest& r) {
    if (r.method == "HEAD")
      c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    else
      c.reply(200, r.method);
  });
  FetcherOptions options;
  options.max_body = 100;
  const auto fetcher = make_fetcher(options);
  const auto head = fetch_one(*fetcher, Request{server.url("/"), Method::kHead, {}, {}, {}});
  ASSERT_TRUE(head->info) << head->error.message;
  EXPECT_EQ(head->info->headers.find("content-length"), "1000000");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "GET");
}

TEST(Fetcher, AStatusOf400OrAboveIsAnErrorWithoutABody) {
  ScriptedServer server;
  server.on("/gone", [](Connection& c, const HttpRequest&) { c.reply(410, "explanation"); });
  server.on("/busy", [](Connection& c, const HttpRequest&) { c.reply(503, std::string(10'000'000, 'x')); });
  server.on("/ok", [](Connection& c, const HttpRequest&) { c.reply(200, "ok"); });
  const auto fetcher = make_fetcher();
  const auto gone = fetch_one(*fetcher, server.url("/gone"));
  EXPECT_EQ(gone->error.code, ErrorCode::kHttpStatus);
  EXPECT_EQ(gone->error.system, 410);
  EXPECT_EQ(gone->error.context, server.url("/gone"));
  EXPECT_EQ(gone->status, 410);
  EXPECT_EQ(gone->body, "");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/ok"))->body, "ok");
  EXPECT_EQ(server.connections(), 1) << "a short error body is read, so that the connection can be kept";
  EXPECT_EQ(fetch_one(*fetcher, server.url("/busy"))->error.system, 503);

  FetcherOptions options;
  options.fail_on_status = false;
  const auto taken = fetch_one(*make_fetcher(options), server.url("/gone"));
  ASSERT_TRUE(taken->info);
  EXPECT_EQ(taken->info->status, 410);
  EXPECT_EQ(taken->body, "explanation");
}

TEST(Fetcher, StartManyRefusesOnlyTheBadOnes) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  const auto fetcher = make_fetcher();
  FetchProbe good, bad, also_good;
  std::vector<Fetcher::Start> starts(3);
  starts[0] = {{server.url("/"), Method::kGet, {}, {}, {}}, &good};
  starts[1] = {{"ftp://example.test/", Method::kGet, {}, {}, {}}, &bad};
  starts[2] = {{server.url("/"), Method::kGet, {}, {}, {}}, &also_good};
  const auto ids = fetcher->start_many(starts);
  ASSERT_EQ(ids.size(), 3U);
  EXPECT_TRUE(ids[0].ok());
  EXPECT_EQ(ids[1].error().code, ErrorCode::kInvalidUrl);
  EXPECT_TRUE(ids[2].ok());
  good.wait();
  also_good.wait();
  fetcher->close();
  EXPECT_EQ(bad.dones.load(), 0) << "a refused transfer's consumer is never called";
}

TEST(Fetcher, BadRequestsAreRefusedBeforeAnythingIsQueued) {
  const auto fetcher = make_fetcher();
  FetchProbe probe;
  const auto code = [&](Request request, BodyConsumer* consumer) {
    return fetcher->start(request, consumer).error().code;
  };
  EXPECT_EQ(code({"http://h:0/", Method::kGet, {}, {}, {}}, &probe), ErrorCode::kInvalidUrl);
  EXPECT_EQ(code({"http://h/", Method::kGet, {{"a", "b\n"}}, {}, {}}, &probe), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({"http://h/", Method::kGet, {}, -1.0, {}}, &probe), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({"http://h/", Method::kGet, {}, {}, {}}, nullptr), ErrorCode::kInvalidArgument);
  EXPECT_EQ(fetcher->stats().queued + fetcher->stats().running, 0U);
  EXPECT_EQ(probe.dones.load(), 0);
}

TEST(Fetcher, TellsTheObserverAfterCallbacksOfARound) {
  struct Observer : RoundObserver {
    void on_round_end(unsigned io_thread) override {
      EXPECT_EQ(io_thread, 0U);
      rounds.add();
    }
    testing::Counter rounds;
  };
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  Observer observer;
  const auto fetcher = make_fetcher();
  fetcher->set_round_observer(&observer);
  fetch_one(*fetcher, server.url("/"));
  EXPECT_TRUE(observer.rounds.wait_for_at_least(1));
  fetcher->close();
}

}  // namespace
}  // namespace offloop::fetch
