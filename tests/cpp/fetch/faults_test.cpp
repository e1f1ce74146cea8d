// What a transfer gives when the server, the network or the name service does not behave: always one error of the right
// class.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <limits>
#include <string>

#include "fetch/resolver.h"
#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::fetch_one;
using testing::FetchProbe;
using testing::Gate;
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

/// The pool is usable after every fault.
void expect_usable(Fetcher& fetcher) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "fine"); });
  EXPECT_EQ(fetch_one(fetcher, server.url("/"))->body, "fine");
}

TEST(Faults, NoAnswerIsATimeoutThatNamesTheSeconds) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.wait_until_client_closes(); });
  const auto fetcher = make_fetcher();
  const auto probe = fetch_one(*fetcher, Request{server.url("/"), Method::kGet, {}, 0.05, {}});
  EXPECT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(probe->error.message, "0.05s");
  EXPECT_EQ(probe->error.context, server.url("/"));
  expect_usable(*fetcher);
}

TEST(Faults, TheTotalTimeoutCountsTheBodyToo) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    c.wait_until_client_closes();
  });
  const auto probe = fetch_one(*make_fetcher(), Request{server.url("/"), Method::kGet, {}, 0.1, {}});
  EXPECT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(probe->body, "some");
}

TEST(Faults, TheTotalTimeoutSpansRedirects) {
  ScriptedServer server;
  server.on("/a", [](Connection& c, const HttpRequest&) { c.reply(302, "", "Location: /b\r\n"); });
  server.on("/b", [](Connection& c, const HttpRequest&) { c.wait_until_client_closes(); });
  const auto probe = fetch_one(*make_fetcher(), Request{server.url("/a"), Method::kGet, {}, 0.1, {}});
  EXPECT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(probe->error.message, "0.1s");
}

TEST(Faults, AConnectionThatIsNotAcceptedTimesOutWhileConnecting) {
  // A full backlog: the kernel drops further connection requests.
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 0), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::array<int, 4> fillers{};
  for (int& filler : fillers) {
    filler = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)::connect(filler, reinterpret_cast<sockaddr*>(&address), size);
  }
  FetcherOptions options;
  options.connect_timeout = 0.1;
  const auto probe =
      fetch_one(*make_fetcher(options), "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/");
  EXPECT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(probe->error.message, "0.1s while connecting");
  for (const int filler : fillers) ::close(filler);
  ::close(fd);
}

TEST(Faults, ADripIsALowSpeedTimeout) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n0123456789");
    c.wait_until_client_closes();
  });
  FetcherOptions options;
  options.low_speed_time = 1;
  options.timeout = 60;
  const auto probe = fetch_one(*make_fetcher(options), server.url("/"));
  EXPECT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(probe->error.message, "1s below 1000 bytes per second");
}

TEST(Faults, ConnectionsCutAtEachPointHaveTheirClass) {
  ScriptedServer server;
  server.on("/reset", [](Connection& c, const HttpRequest&) { c.reset(); });
  server.on("/silent", [](Connection& c, const HttpRequest&) { c.close(); });
  server.on("/in-body", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    c.close();
  });
  server.on("/reset-in-body", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + std::string(1000, 'x'));
    c.reset();
  });
  server.on("/in-chunk", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n12345");
    c.close();
  });
  server.on("/before-last-chunk", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n");
    c.close();
  });
  server.on("/no-chunk", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n");
    c.close();
  });
  const auto fetcher = make_fetcher();
  const auto code = [&](const char* path) { return fetch_one(*fetcher, server.url(path))->error.code; };
  EXPECT_EQ(code("/reset"), ErrorCode::kConnect);
  EXPECT_EQ(code("/silent"), ErrorCode::kIncompleteBody);
  EXPECT_EQ(code("/in-body"), ErrorCode::kIncompleteBody);
  EXPECT_EQ(code("/reset-in-body"), ErrorCode::kIncompleteBody);
  EXPECT_EQ(code("/in-chunk"), ErrorCode::kIncompleteBody);
  EXPECT_EQ(code("/before-last-chunk"), ErrorCode::kIncompleteBody);
  EXPECT_EQ(code("/no-chunk"), ErrorCode::kIncompleteBody);
  expect_usable(*fetcher);
}

TEST(Faults, WhatIsNotHttpIsRefused) {
  ScriptedServer server;
  server.on("/old", [](Connection& c, const HttpRequest&) {
    c.send("just some bytes, as HTTP/0.9 had them");
    c.close();
  });
  const auto fetcher = make_fetcher();
  EXPECT_EQ(fetch_one(*fetcher, server.url("/old"))->error.code, ErrorCode::kFetch);
}

TEST(Faults, ARefusedPortIsAConnectError) {
  std::uint16_t port;
  {
    ScriptedServer closed;
    port = closed.port();
  }
  const auto fetcher = make_fetcher();
  const auto probe = fetch_one(*fetcher, "http://127.0.0.1:" + std::to_string(port) + "/");
  EXPECT_EQ(probe->error.code, ErrorCode::kConnect);
  EXPECT_TRUE(is_retryable(probe->error.code));
}

TEST(Faults, AnUnknownHostIsADnsErrorAndIsRemembered) {
  const auto fetcher = make_fetcher();
  for (int i = 0; i < 3; ++i) {
    const auto probe = fetch_one(*fetcher, "http://name.invalid/");
    EXPECT_EQ(probe->error.code, ErrorCode::kDns);
    EXPECT_EQ(probe->error.context, "http://name.invalid/");
  }
  EXPECT_EQ(fetcher->stats().lookups, 1U);
  expect_usable(*fetcher);
}

TEST(Faults, BrokenCompressionIsAContentDecodingError) {
  const std::string good = command_output("head -c 100000 /dev/urandom | gzip -c");
  std::string corrupt = good;
  for (std::size_t i = 20; i < 200; ++i) corrupt[i] = static_cast<char>(corrupt[i] ^ 0x5a);
  ScriptedServer server;
  server.on("/no-gzip",
            [](Connection& c, const HttpRequest&) { c.reply(200, "plain text", "Content-Encoding: gzip\r\n"); });
  server.on("/corrupt",
            [&](Connection& c, const HttpRequest&) { c.reply(200, corrupt, "Content-Encoding: gzip\r\n"); });
  server.on("/unknown", [](Connection& c, const HttpRequest&) { c.reply(200, "x", "Content-Encoding: rot13\r\n"); });
  const auto fetcher = make_fetcher();
  for (const char* path : {"/no-gzip", "/corrupt", "/unknown"}) {
    EXPECT_EQ(fetch_one(*fetcher, server.url(path))->error.code, ErrorCode::kContentDecoding) << path;
  }
  expect_usable(*fetcher);
}

TEST(Faults, ABodyBeyondTheLimitEndsAtTheLimit) {
  const std::string bomb = command_output("head -c 50000000 /dev/zero | gzip -9c");
  ASSERT_LT(bomb.size(), 100'000U);
  Gate closed;
  ScriptedServer server;
  server.on("/announced", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    c.wait_until_client_closes();
  });
  server.on("/endless", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n\r\n");
    const std::string piece(10'000, 'x');
    while (c.send(piece)) {
    }
    c.close();
    closed.open();
  });
  server.on("/bomb", [&](Connection& c, const HttpRequest&) { c.reply(200, bomb, "Content-Encoding: gzip\r\n"); });
  server.on("/exact", [](Connection& c, const HttpRequest&) { c.reply(200, std::string(50'000, 'x')); });
  FetcherOptions options;
  options.max_body = 50'000;
  const auto fetcher = make_fetcher(options);
  const auto announced = fetch_one(*fetcher, server.url("/announced"));
  EXPECT_EQ(announced->error.code, ErrorCode::kBodyTooLarge);
  EXPECT_EQ(announced->body, "") << "the announced length is enough to know";
  for (const char* path : {"/endless", "/bomb"}) {
    const auto probe = fetch_one(*fetcher, server.url(path));
    EXPECT_EQ(probe->error.code, ErrorCode::kBodyTooLarge) << path;
    EXPECT_LE(probe->body.size(), options.max_body) << path;
  }
  EXPECT_TRUE(closed.wait());
  EXPECT_EQ(fetch_one(*fetcher, server.url("/exact"))->body.size(), 50'000U);
  EXPECT_EQ(fetch_one(*fetcher, Request{server.url("/exact"), Method::kGet, {}, {}, 10})->error.code,
            ErrorCode::kBodyTooLarge);
}

TEST(Faults, EndlessHeadersEnd) {
  ScriptedServer server;
  server.on("/many", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n");
    while (c.send("X-Header: " + std::string(1000, 'x') + "\r\n")) {
    }
    c.close();
  });
  server.on("/long", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nX: ");
    while (c.send(std::string(10'000, 'x'))) {
    }
    c.close();
  });
  server.on("/hints", [](Connection& c, const HttpRequest&) {
    while (c.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")) {
    }
    c.close();
  });
  FetcherOptions options;
  options.timeout = 20;
  const auto fetcher = make_fetcher(options);
  EXPECT_EQ(fetch_one(*fetcher, server.url("/many"))->error.code, ErrorCode::kFetch);
  EXPECT_NE(fetch_one(*fetcher, server.url("/long"))->error.code, ErrorCode::kOk);
  EXPECT_EQ(fetch_one(*fetcher, server.url("/hints"))->error.code, ErrorCode::kFetch);
  expect_usable(*fetcher);
}

TEST(Faults, AForbiddenAddressIsBlockedInEveryDisguise) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "secret"); });
  const std::string port = std::to_string(server.port());
  FetcherOptions options;
  options.addresses = AddressMode::kPublicOnly;
  options.resolve = {"rebound.test:127.0.0.1", "both.test:10.0.0.1", "both.test:127.0.0.1"};
  const auto fetcher = make_fetcher(options);
  for (const char* host : {"127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost", "rebound.test", "both.test",
                           "[::1]", "[::ffff:127.0.0.1]", "0"}) {
    const auto probe = fetch_one(*fetcher, "http://" + std::string(host) + ":" + port + "/");
    EXPECT_EQ(probe->error.code, ErrorCode::kBlockedAddress) << host << ": " << probe->error.message;
  }
  EXPECT_EQ(server.connections(), 0);
  EXPECT_EQ(fetcher->stats().connections_opened, 0U);
}

TEST(Faults, AConsumerThatThrowsEndsOnlyItsOwnTransfer) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  const auto fetcher = make_fetcher();
  FetchProbe throwing, out_of_memory;
  throwing.decide = [](ByteSpan) -> Flow { throw std::runtime_error("mistake"); };
  out_of_memory.decide = [](ByteSpan) -> Flow { throw std::bad_alloc(); };
  ASSERT_TRUE(fetcher->start({server.url("/"), Method::kGet, {}, {}, {}}, &throwing).ok());
  ASSERT_TRUE(fetcher->start({server.url("/"), Method::kGet, {}, {}, {}}, &out_of_memory).ok());
  EXPECT_EQ(throwing.wait(), ErrorCode::kInternal);
  EXPECT_EQ(out_of_memory.wait(), ErrorCode::kOutOfMemory);
  expect_usable(*fetcher);
}

}  // namespace
}  // namespace offloop::fetch
