// An answer that does not come to its end is never taken for a whole one, however it is framed and coded.
#include <gtest/gtest.h>

#include <string>

#include "support/coded_text.h"
#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Coded;
using testing::coded_texts;
using testing::Connection;
using testing::fetch_one;
using testing::FetchProbe;
using testing::gzip_packed;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::plain_text;
using testing::ScriptedServer;

/// `body` framed in each of the three ways HTTP/1.1 has.
std::vector<std::string> framed(const std::string& body, const std::string& headers) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", body.size());
  const std::string head = "HTTP/1.1 200 OK\r\n" + headers;
  return {head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
          head + "Transfer-Encoding: chunked\r\n\r\n" + (body.empty() ? "" : size + body + "\r\n") + "0\r\n\r\n",
          head + "Connection: close\r\n\r\n" + body};
}

std::unique_ptr<FetchProbe> fetch_answer(Fetcher& fetcher, const std::string& answer) {
  ScriptedServer server;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    c.send(answer);
    c.close();
  });
  return fetch_one(fetcher, server.url("/"));
}

TEST(Answer, ACompressedBodyComesWholeOrIsAnError) {
  const auto fetcher = make_fetcher();
  for (const Coded& coded : coded_texts()) {
    const std::string header = "Content-Encoding: " + coded.coding + "\r\n";
    for (const std::string& answer : framed(coded.packed, header)) {
      const auto probe = fetch_answer(*fetcher, answer);
      ASSERT_TRUE(probe->info) << coded.coding << ": " << probe->error.message;
      EXPECT_TRUE(probe->body == plain_text()) << coded.coding;
      EXPECT_EQ(probe->content_length, -1);
    }
    const std::size_t size = coded.packed.size();
    for (const std::size_t cut : {std::size_t{1}, size / 2, size - 1}) {
      for (const std::string& answer : framed(coded.packed.substr(0, cut), header)) {
        const auto probe = fetch_answer(*fetcher, answer);
        EXPECT_EQ(probe->error.code, ErrorCode::kContentDecoding) << coded.coding << " " << cut << " of " << size;
        EXPECT_EQ(probe->error.message, "broken " + coded.coding + " content: it ends before its end");
      }
    }
    for (const std::string& answer : framed(coded.packed + "x", header)) {
      EXPECT_EQ(fetch_answer(*fetcher, answer)->error.code, ErrorCode::kContentDecoding) << coded.coding;
    }
  }
}

TEST(Answer, AnEmptyBodyIsEmptyInEveryCoding) {
  const auto fetcher = make_fetcher();
  for (const Coded& coded : coded_texts()) {
    for (const std::string& answer : framed("", "Content-Encoding: " + coded.coding + "\r\n")) {
      const auto probe = fetch_answer(*fetcher, answer);
      EXPECT_TRUE(probe->info) << coded.coding << ": " << probe->error.message;
    }
  }
}

TEST(Answer, WithoutDecompressionTheBodyComesAsItIs) {
  FetcherOptions options;
  options.decompress = false;
  const auto fetcher = make_fetcher(options);
  const std::string cut = gzip_packed(plain_text()).substr(0, 40);
  for (const std::string& answer : framed(cut, "Content-Encoding: gzip\r\n")) {
    EXPECT_EQ(fetch_answer(*fetcher, answer)->body, cut);
  }
}

TEST(Answer, ABodyThatDecodesToNothingEndsAtTheLimitToo) {
  ScriptedServer server;
  testing::Gate closed;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n");
    std::string members;
    for (int i = 0; i < 1000; ++i) members += gzip_packed("");
    while (c.send(members)) {
    }
    c.close();
    closed.open();
  });
  FetcherOptions options;
  options.max_body = 100'000;
  options.timeout = 60;
  const auto probe = fetch_one(*make_fetcher(options), server.url("/"));
  EXPECT_EQ(probe->error.code, ErrorCode::kBodyTooLarge);
  EXPECT_EQ(probe->body, "");
  EXPECT_TRUE(closed.wait());
}

TEST(Answer, ABodyOfTheLimitPassesHoweverWellItIsCompressed) {
  const std::string body(1'000'000, 'x');
  FetcherOptions options;
  options.max_body = body.size();
  const auto fetcher = make_fetcher(options);
  EXPECT_TRUE(fetch_answer(*fetcher, framed(gzip_packed(body), "Content-Encoding: gzip\r\n")[0])->body == body);
  const auto larger = fetch_answer(*fetcher, framed(gzip_packed(body + "x"), "Content-Encoding: gzip\r\n")[0]);
  EXPECT_EQ(larger->error.code, ErrorCode::kBodyTooLarge);
}

TEST(Answer, ALengthIsOneNumberOrAnError) {
  const auto fetcher = make_fetcher();
  const auto answer = [&](const std::string& lines) {
    return fetch_answer(*fetcher, "HTTP/1.1 200 OK\r\n" + lines + "\r\nok and more");
  };
  for (const char* lines :
       {"Content-Length: 2\r\n", "content-length:2 \r\n", "Content-Length: 2\r\nContent-Length: 2\r\n"}) {
    EXPECT_EQ(answer(lines)->body, "ok") << lines;
  }
  for (const char* lines :
       {"Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length: 3\r\nContent-Length: 2\r\n",
        "Content-Length: 2x\r\n", "Content-Length: 2, 3\r\n", "Content-Length: 0x2\r\n", "Content-Length: +2\r\n",
        "Content-Length: -2\r\n", "Content-Length: 9223372036854775808\r\n", "Content-Length: 99999999999999999999\r\n",
        "Content-Length:\r\n"}) {
    const auto probe = answer(lines);
    EXPECT_EQ(probe->error.code, ErrorCode::kFetch) << lines << probe->error.message;
    EXPECT_EQ(probe->body, "") << lines;
  }
}

TEST(Answer, ATransferCodingNobodyAskedForIsAnError) {
  const auto fetcher = make_fetcher();
  const std::string packed = gzip_packed(plain_text());
  for (const char* coding : {"gzip", "gzip, chunked", "deflate", "br"}) {
    const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + std::string(coding) + "\r\n\r\n";
    EXPECT_EQ(fetch_answer(*fetcher, head + packed)->error.code, ErrorCode::kFetch) << coding;
  }
}

// Where the connection ends within the head: nothing of it may look like an answer, or its empty body gets a digest.
TEST(Answer, AHeadThatDoesNotEndIsIncomplete) {
  const auto fetcher = make_fetcher();
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n";
  for (std::size_t size = 0; size < head.size(); ++size) {
    const auto probe = fetch_answer(*fetcher, head.substr(0, size));
    // Up to "HTTP" libcurl takes it for what came before HTTP had heads.
    EXPECT_TRUE(probe->error.code == ErrorCode::kIncompleteBody || (size < 6 && probe->error.code == ErrorCode::kFetch))
        << size << ": " << error_code_name(probe->error.code) << " " << probe->error.message;
    EXPECT_EQ(probe->responses.load(), 0) << size;
  }
  EXPECT_TRUE(fetch_answer(*fetcher, head)->info);
}

TEST(Answer, AHeadThatDoesNotEndIsIncompleteAfterAnEarlyHintToo) {
  const auto fetcher = make_fetcher();
  const std::string head = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n\r\n";
  for (const std::size_t size : {head.find("Link"), head.find("HTTP/1.1 200"), head.find("OK"), head.find("X: y")}) {
    EXPECT_EQ(fetch_answer(*fetcher, head.substr(0, size))->error.code, ErrorCode::kIncompleteBody) << size;
  }
}

// On a connection that was kept libcurl may repeat the request by itself, if nothing of an answer has come.
TEST(Answer, AHeadThatEndsOnAKeptConnectionIsNeverMixedWithTheNext) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n";
  for (std::size_t size = 0; size < head.size(); ++size) {
    ScriptedServer server;
    server.on("/first", [](Connection& c, const HttpRequest&) { c.reply(200, "first"); });
    server.on("/cut", [&](Connection& c, const HttpRequest&) {
      if (c.number() > 0) {
        c.send(head + "ok");
        return;
      }
      c.send(head.substr(0, size));
      c.close();
    });
    const auto fetcher = make_fetcher();
    ASSERT_EQ(fetch_one(*fetcher, server.url("/first"))->body, "first");
    const auto probe = fetch_one(*fetcher, server.url("/cut"));
    if (probe->error.code == ErrorCode::kOk) {
      EXPECT_EQ(probe->body, "ok") << size;
      EXPECT_EQ(probe->info->headers.find("x"), "y") << size;
      EXPECT_EQ(server.connections(), 2) << size;
    } else {
      EXPECT_TRUE(is_retryable(probe->error.code)) << size << ": " << probe->error.message;
      EXPECT_EQ(probe->responses.load(), 0) << size;
    }
    EXPECT_EQ(fetch_one(*fetcher, server.url("/first"))->body, "first") << size;
  }
}

// libcurl keeps an unfinished header line with the handle, and puts the next transfer's first line behind it.
TEST(Answer, WhatAnAnswerLeftUnfinishedIsNotPartOfTheNext) {
  const auto fetcher = make_fetcher();
  for (const std::string& unfinished : {std::string("HTTP/1.1 200 X"), std::string("HTTP/1.1 200 OK\r\nX: "),
                                        "HTTP/1.1 200 OK\r\nX: " + std::string(300'000, 'y')}) {
    for (const bool hang : {false, true}) {
      ScriptedServer server;
      server.on("/", [&](Connection& c, const HttpRequest&) {
        c.send(unfinished);
        if (hang) c.wait_until_client_closes();
        c.close();
      });
      server.on("/next", [](Connection& c, const HttpRequest&) { c.reply(404, "no"); });
      const auto cut = fetch_one(*fetcher, Request{server.url("/"), Method::kGet, {}, hang ? 0.1 : 20.0, {}});
      EXPECT_NE(cut->error.code, ErrorCode::kOk);
      const auto next = fetch_one(*fetcher, server.url("/next"));
      EXPECT_EQ(next->error.code, ErrorCode::kHttpStatus) << next->error.message;
      EXPECT_EQ(next->status, 404);
    }
  }
}

TEST(Answer, AHeaderLineBeyondLibcurlsBufferIsAnErrorOfTheAnswer) {
  const auto fetcher = make_fetcher();
  for (const std::size_t size : {90'000UL, 300'000UL}) {
    const auto probe =
        fetch_answer(*fetcher, "HTTP/1.1 200 OK\r\nX: " + std::string(size, 'y') + "\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(probe->error.code, size < 100'000 ? ErrorCode::kOk : ErrorCode::kFetch) << probe->error.message;
  }
  const auto endless = fetch_answer(*fetcher, "HTTP/1.1 200 OK\r\nX: " + std::string(300'000, 'y'));
  EXPECT_EQ(endless->error.code, ErrorCode::kFetch);
  EXPECT_EQ(endless->error.message, "a header line is longer than 100 KiB");
}

TEST(Answer, AStatusLineIsReadAsLibcurlReadsIt) {
  const auto fetcher = make_fetcher();
  const auto answer = [&](const std::string& line) {
    return fetch_answer(*fetcher, line + "\r\nContent-Length: 2\r\n\r\nok");
  };
  EXPECT_EQ(answer("HTTP/1.1 200")->body, "ok");
  EXPECT_EQ(answer("HTTP/1.0 203 Fine")->status, 203);
  EXPECT_EQ(answer("HTTP/1.1 599 Own")->error.code, ErrorCode::kHttpStatus);
  for (const char* line : {"HTTP/1.1  200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 OK", "HTTP/1.1 20 OK", "HTTP/1.1 000 No",
                           "HTTP/3.7 200 OK", "HTTP/1.1\t200 OK"}) {
    const auto probe = answer(line);
    EXPECT_TRUE(probe->error.code == ErrorCode::kOk ? probe->body == "ok" : probe->body.empty())
        << line << ": " << error_code_name(probe->error.code) << " " << probe->error.message;
    EXPECT_EQ(probe->error.code == ErrorCode::kOk, probe->responses.load() == 1) << line;
  }
}

}  // namespace
}  // namespace offloop::fetch
