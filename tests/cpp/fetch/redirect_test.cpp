// Redirects are followed by us, hop by hop.
#include <gtest/gtest.h>

#include <string>

#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::fetch_one;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::ScriptedServer;

ScriptedServer::Handler redirect_to(std::string location, int status = 302) {
  return [location = std::move(location), status](Connection& c, const HttpRequest&) {
    c.reply(status, "moved", "Location: " + location + "\r\n");
  };
}

TEST(Redirects, AreFollowedToTheEndAndCounted) {
  ScriptedServer server;
  server.on("/a", redirect_to("b", 301));
  server.on("/b", redirect_to("/c?x=1", 303));
  server.on("/c", redirect_to(server.url("/d"), 307));
  server.on("/d", redirect_to("//127.0.0.1:" + std::to_string(server.port()) + "/end", 308));
  server.on("/end", [](Connection& c, const HttpRequest&) { c.reply(200, "here"); });
  const auto fetcher = make_fetcher();
  const auto probe = fetch_one(*fetcher, server.url("/a"));
  ASSERT_TRUE(probe->info) << probe->error.message;
  EXPECT_EQ(probe->body, "here") << "and nothing of the redirects' own bodies";
  EXPECT_EQ(probe->info->redirects, 4U);
  EXPECT_EQ(probe->starts, 1) << "one transfer, however many hops";
  EXPECT_EQ(probe->info->final_url, server.url("/end"));
  EXPECT_EQ(probe->final_url, server.url("/end"));
  EXPECT_EQ(server.connections(), 1);
}

TEST(Redirects, ALoopEndsAtTheLimit) {
  ScriptedServer server;
  server.on("/loop", redirect_to("/loop"));
  FetcherOptions options;
  options.max_redirects = 3;
  const auto probe = fetch_one(*make_fetcher(options), server.url("/loop"));
  EXPECT_EQ(probe->error.code, ErrorCode::kTooManyRedirects);
  EXPECT_EQ(probe->error.message, "more than 3 redirects");
  EXPECT_EQ(probe->error.context, server.url("/loop"));
  EXPECT_EQ(server.requests(), 4);
  EXPECT_EQ(probe->responses.load(), 0);
}

TEST(Redirects, ToOtherSchemesAreRefused) {
  ScriptedServer server;
  server.on("/file", redirect_to("file:///etc/passwd"));
  server.on("/ftp", redirect_to("ftp://example.test/"));
  server.on("/bad", redirect_to("http://example.test:0/"));
  const auto fetcher = make_fetcher();
  for (const char* path : {"/file", "/ftp", "/bad"}) {
    const auto probe = fetch_one(*fetcher, server.url(path));
    EXPECT_EQ(probe->error.code, ErrorCode::kTooManyRedirects) << path;
    EXPECT_NE(probe->error.message.find("not allowed"), std::string::npos) << probe->error.message;
  }
}

TEST(Redirects, WithoutALocationAreOrdinaryAnswers) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(302, "no location"); });
  server.on("/304",
            [](Connection& c, const HttpRequest&) { c.send("HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n"); });
  const auto fetcher = make_fetcher();
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "no location");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/304"))->status, 304);
}

TEST(Redirects, CredentialsStayWithTheirOrigin) {
  ScriptedServer other;
  const auto show = [](Connection& c, const HttpRequest& r) {
    c.reply(200, r.header("Authorization") + "|" + r.header("Cookie") + "|" + r.header("X-Kept"));
  };
  other.on("/show", show);
  ScriptedServer server;
  server.on("/same", redirect_to("/show"));
  server.on("/other", redirect_to(other.url("/show")));
  server.on("/show", show);
  const std::vector<Header> headers = {{"Authorization", "secret"}, {"Cookie", "a=b"}, {"X-Kept", "yes"}};

  const auto of_request = make_fetcher();
  EXPECT_EQ(fetch_one(*of_request, Request{server.url("/same"), Method::kGet, headers, {}, {}})->body,
            "secret|a=b|yes");
  EXPECT_EQ(fetch_one(*of_request, Request{server.url("/other"), Method::kGet, headers, {}, {}})->body, "||yes");

  FetcherOptions options;
  options.headers = headers;
  const auto of_fetcher = make_fetcher(options);
  EXPECT_EQ(fetch_one(*of_fetcher, server.url("/other"))->body, "||yes");
  EXPECT_EQ(fetch_one(*of_fetcher, server.url("/same"))->body, "secret|a=b|yes");

  const std::string user = "http://user:secret@127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(fetch_one(*make_fetcher(), user + "/other")->body, "||");
}

TEST(Redirects, EachHopIsResolvedByUsAndJudgedByThePolicy) {
  ScriptedServer server;
  server.on("/in", redirect_to("http://inside.test:" + std::to_string(server.port()) + "/secret"));
  server.on("/secret", [](Connection& c, const HttpRequest&) { c.reply(200, "secret"); });
  FetcherOptions options;
  options.resolve = {"start.test:127.0.0.1", "inside.test:127.0.0.2"};
  const std::string start = "http://start.test:" + std::to_string(server.port()) + "/in";
  EXPECT_EQ(fetch_one(*make_fetcher(options), start)->error.code, ErrorCode::kConnect)
      << "nothing listens on 127.0.0.2";

  options.addresses = AddressMode::kPublicOnly;
  options.allow_cidrs = {"127.0.0.1/32"};
  const auto probe = fetch_one(*make_fetcher(options), start);
  EXPECT_EQ(probe->error.code, ErrorCode::kBlockedAddress);
  EXPECT_NE(probe->error.message.find("127.0.0.2"), std::string::npos) << probe->error.message;
  EXPECT_NE(probe->error.message.find("loopback"), std::string::npos) << probe->error.message;
}

}  // namespace
}  // namespace offloop::fetch
