// fetch → hash: bodies become digests while they arrive.
#include "offloop/pipeline/fetch_hash.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <random>

#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/scripted_server.h"

namespace offloop::pipeline {
namespace {

using hash::kChunkBytes;
using offloop::testing::BusyWorkers;
using offloop::testing::comes_true;
using offloop::testing::Connection;
using offloop::testing::Counter;
using offloop::testing::Gate;
using offloop::testing::HttpRequest;
using offloop::testing::openssl_hex;
using offloop::testing::ScriptedServer;

std::string noise(std::size_t n, std::uint64_t seed = 1) {
  const offloop::testing::Bytes bytes = offloop::testing::noise_bytes(n, seed);
  return {bytes.begin(), bytes.end()};
}

/// As long as one likes, at the cost of a short one.
std::string repeated(std::size_t n) {
  const std::string piece = noise(1 << 20);
  std::string out;
  out.reserve(n + piece.size());
  while (out.size() < n) out += piece;
  out.resize(n);
  return out;
}

std::string hex_of(std::string_view body, const char* name = "SHA256") {
  return openssl_hex({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, name);
}

std::unique_ptr<HashingFetcher> make_hashing(fetch::FetcherOptions options = {}) {
  options.timeout = 600;  // no limit of its own ends what a test waits for
  options.low_speed_time = 0;
  auto made = HashingFetcher::create(std::move(options));
  EXPECT_TRUE(made.ok());
  return std::move(made).value();
}

void expect_at_rest(const HashingFetcher& fetcher) {
  EXPECT_EQ(fetcher.queued_bytes(), 0U);
}

/// gzip without compression: stored blocks (RFC 1951, 3.2.4), CRC-32 (RFC 1952).
std::string gzip_stored(const std::string& body) {
  std::string out("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", 10);
  const auto little = [&out](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  };
  std::size_t at = 0;
  do {
    const std::size_t n = std::min<std::size_t>(body.size() - at, 65535);
    out += static_cast<char>(at + n == body.size() ? 1 : 0);
    little(n, 2);
    little(~n & 0xffff, 2);
    out.append(body, at, n);
    at += n;
  } while (at < body.size());
  std::uint32_t crc = 0xffffffff;
  for (const char c : body) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
  }
  little(crc ^ 0xffffffff, 4);
  little(body.size(), 4);
  return out;
}

TEST(FetchHash, BodiesOfEverySizeGetTheirDigests) {
  const std::string text = noise(5 * kChunkBytes + 1000);
  ScriptedServer server;
  server.on_any([&](Connection& c, const HttpRequest& request) {
    c.reply(200, std::string_view(text).substr(0, std::stoul(request.target.substr(1))));
  });
  const auto fetcher = make_hashing();
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{4096},
                                 std::size_t{4097}, std::size_t{65536}, kChunkBytes - 1, kChunkBytes, kChunkBytes + 1,
                                 2 * kChunkBytes, 5 * kChunkBytes, 5 * kChunkBytes + 999}) {
    for (const auto& [name, openssl] : {std::pair{"sha256", "SHA256"}, {"sha512", "SHA512"}}) {
      const auto result = fetcher->fetch_and_hash(server.url("/" + std::to_string(size)), name).get();
      ASSERT_TRUE(result.ok()) << size << ": " << result.error().message;
      EXPECT_EQ(result.value().digest.hex(), hex_of(text.substr(0, size), openssl)) << size;
      EXPECT_EQ(result.value().info.body_bytes, size);
      EXPECT_EQ(result.value().info.status, 200);
    }
  }
  expect_at_rest(*fetcher);
}

TEST(FetchHash, BodiesOfUnknownLengthGetTheirDigests) {
  const std::string text = noise(3 * kChunkBytes + 77);
  ScriptedServer server;
  server.on("/chunked", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::size_t at = 0;
    for (std::size_t n = 1; at < text.size(); n = n * 3 + 1) {  // pieces of every size, odd ones first
      n = std::min(n, text.size() - at);
      char head[32];
      std::snprintf(head, sizeof head, "%zx\r\n", n);
      c.send(head + text.substr(at, n) + "\r\n");
      at += n;
    }
    c.send("0\r\n\r\n");
  });
  server.on("/close", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n\r\n" + text);
    c.close();
  });
  server.on("/gzip",
            [&](Connection& c, const HttpRequest&) { c.reply(200, gzip_stored(text), "Content-Encoding: gzip\r\n"); });
  server.on("/gzip-small", [&](Connection& c, const HttpRequest&) {
    c.reply(200, gzip_stored(text.substr(0, 100)), "Content-Encoding: gzip\r\n");
  });
  server.on("/none", [](Connection& c, const HttpRequest&) { c.send("HTTP/1.1 204 No Content\r\n\r\n"); });
  server.on("/redirect", [](Connection& c, const HttpRequest&) { c.reply(302, "not this", "Location: /gzip\r\n"); });
  const auto fetcher = make_hashing();
  const auto expect = [&](const char* path, const std::string& body) {
    const auto result = fetcher->fetch_and_hash(server.url(path)).get();
    ASSERT_TRUE(result.ok()) << path << ": " << result.error().message;
    EXPECT_EQ(result.value().digest.hex(), hex_of(body)) << path;
  };
  expect("/chunked", text);
  expect("/close", text);
  expect("/gzip", text);
  expect("/gzip-small", text.substr(0, 100));
  expect("/none", "");
  expect("/redirect", text);
  expect_at_rest(*fetcher);
}

TEST(FetchHash, ManyAtOnceFromSeveralIoThreads) {
  const std::string text = noise(1 << 20);
  ScriptedServer server;
  server.on_any([&](Connection& c, const HttpRequest& request) {
    c.reply(200, std::string_view(text).substr(0, std::stoul(request.target.substr(1))));
  });
  fetch::FetcherOptions options;
  options.io_threads = 2;
  options.max_concurrent = 24;
  const auto fetcher = make_hashing(options);
  std::mt19937_64 random(3);
  std::vector<std::size_t> sizes;
  std::vector<Operation<HashedBody>> operations;
  for (int i = 0; i < 150; ++i) {
    sizes.push_back(random() % (1ULL << (random() % 21)));
    operations.push_back(
        fetcher->fetch_and_hash(server.url("/" + std::to_string(sizes.back())), i % 10 == 0 ? "sha1" : "sha256"));
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto result = operations[i].get();
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(result.value().digest.hex(), hex_of(text.substr(0, sizes[i]), i % 10 == 0 ? "SHA1" : "SHA256"))
        << sizes[i];
  }
  expect_at_rest(*fetcher);
}

TEST(FetchHash, AnErrorInTheMiddleIsTheResultAndNoDigest) {
  const std::string half = noise(3 * kChunkBytes / 2);
  ScriptedServer server;
  server.on("/cut", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(4 * kChunkBytes) + "\r\n\r\n" + half);
    c.close();
  });
  server.on("/cut-early", [](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    c.close();
  });
  server.on("/bad-gzip", [&](Connection& c, const HttpRequest&) {
    std::string body = gzip_stored(half);
    body[body.size() - 6] = static_cast<char>(body[body.size() - 6] ^ 1);  // the checksum
    c.reply(200, body, "Content-Encoding: gzip\r\n");
  });
  server.on("/404", [](Connection& c, const HttpRequest&) { c.reply(404, "no"); });
  server.on("/large", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n\r\n" + half + half);
    c.close();
  });
  fetch::FetcherOptions options;
  options.max_body = 2 * kChunkBytes;
  const auto fetcher = make_hashing(options);
  const auto code = [&](const std::string& url, const char* algorithm = "sha256") {
    auto result = fetcher->fetch_and_hash(url, algorithm).get();
    return result.ok() ? ErrorCode::kOk : result.error().code;
  };
  EXPECT_EQ(code(server.url("/cut-early")), ErrorCode::kIncompleteBody);
  EXPECT_EQ(code(server.url("/bad-gzip")), ErrorCode::kContentDecoding);
  EXPECT_EQ(code(server.url("/404")), ErrorCode::kHttpStatus);
  EXPECT_EQ(code(server.url("/large")), ErrorCode::kBodyTooLarge);
  EXPECT_EQ(code(server.url("/large"), "sha1"), ErrorCode::kBodyTooLarge);
  EXPECT_EQ(code("http://127.0.0.1:1/"), ErrorCode::kConnect);
  EXPECT_EQ(code("nonsense"), ErrorCode::kInvalidUrl);
  EXPECT_EQ(code(server.url("/404"), "nonsense"), ErrorCode::kInvalidArgument);
  expect_at_rest(*fetcher);
  const auto unlimited = make_hashing();
  for (const char* algorithm : {"sha256", "sha1"}) {
    EXPECT_EQ(unlimited->fetch_and_hash(server.url("/cut"), algorithm).get().error().code, ErrorCode::kIncompleteBody);
  }
  expect_at_rest(*unlimited);
}

TEST(FetchHash, ACancelInTheMiddleClosesTheConnection) {
  const std::string half = noise(3 * kChunkBytes / 2);
  ScriptedServer server;
  Counter sent;
  Counter closed;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + half);
    sent.add();
    if (c.wait_until_client_closes()) closed.add();
    c.close();
  });
  fetch::FetcherOptions options;
  options.max_concurrent = 4;
  const auto fetcher = make_hashing(options);
  std::vector<Operation<HashedBody>> operations;
  for (int i = 0; i < 8; ++i) operations.push_back(fetcher->fetch_and_hash(server.url("/")));
  ASSERT_TRUE(sent.wait_for_at_least(4));
  for (std::size_t i = operations.size(); i-- > 0;) operations[i].request_stop();  // those that wait first
  for (Operation<HashedBody>& op : operations) EXPECT_EQ(op.get().error().code, ErrorCode::kStopped);
  EXPECT_TRUE(closed.wait_for_at_least(4));
  EXPECT_EQ(server.requests(), 4) << "cancelled while queued: never requested";
  expect_at_rest(*fetcher);
}

TEST(FetchHash, ABusyPoolPausesTheTransfer) {
  const std::string large = repeated(50'000'000);
  ScriptedServer server;
  server.on("/large", [&](Connection& c, const HttpRequest&) { c.reply(200, large); });
  server.on("/small", [](Connection& c, const HttpRequest&) { c.reply(200, "small"); });
  const auto fetcher = make_hashing();
  for (const auto& [name, openssl] : {std::pair{"sha256", "SHA256"}, {"sha1", "SHA1"}}) {
    BusyWorkers busy;
    Operation<HashedBody> op = fetcher->fetch_and_hash(server.url("/large"), name);
    ASSERT_TRUE(comes_true([&] { return fetcher->queued_bytes() == 4 * kChunkBytes; }));
    // The I/O thread goes round and round (small bodies need no worker): it would have taken more.
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(fetcher->fetch_and_hash(server.url("/small")).get().ok());
    EXPECT_EQ(fetcher->queued_bytes(), 4 * kChunkBytes);
    // Four that wait, one that is full or being filled, and no longer that of the last small body.
    EXPECT_TRUE(!kCountersOn || comes_true([] { return live_count(Counted::kChunk) == 5; }));
    EXPECT_FALSE(op.done());
    busy.release();
    EXPECT_EQ(op.get().value().digest.hex(), hex_of(large, openssl)) << name;
    expect_at_rest(*fetcher);
  }
}

TEST(FetchHash, ACancelEndsAPausedTransfer) {
  const std::string large = repeated(10'000'000);
  ScriptedServer server;
  server.on("/", [&](Connection& c, const HttpRequest&) { c.reply(200, large); });
  const auto fetcher = make_hashing();
  BusyWorkers busy;
  Operation<HashedBody> op = fetcher->fetch_and_hash(server.url("/"));
  ASSERT_TRUE(comes_true([&] { return fetcher->queued_bytes() == 4 * kChunkBytes; }));
  op.request_stop();
  ASSERT_TRUE(comes_true([&] { return fetcher->fetcher().stats().stopped == 1; }));
  busy.release();
  EXPECT_EQ(op.get().error().code, ErrorCode::kStopped);
  expect_at_rest(*fetcher);
}

TEST(FetchHash, TheFetcherMayBeDestroyedBeforeItsBodiesAreHashed) {
  const std::string text = repeated(10'000'000);
  ScriptedServer server;
  server.on_any([&](Connection& c, const HttpRequest& request) {
    c.reply(200, std::string_view(text).substr(0, std::stoul(request.target.substr(1))));
  });
  auto fetcher = make_hashing();
  BusyWorkers busy;
  std::vector<Operation<HashedBody>> complete;
  for (const std::size_t size : {100'000U, 300'000U, 900'000U})
    complete.push_back(fetcher->fetch_and_hash(server.url("/" + std::to_string(size))));
  std::vector<Operation<HashedBody>> paused;
  for (int i = 0; i < 3; ++i) paused.push_back(fetcher->fetch_and_hash(server.url("/10000000")));
  ASSERT_TRUE(comes_true([&] {
    return fetcher->fetcher().stats().done == 3 && fetcher->queued_bytes() == 300'000 + 900'000 + 3 * 4 * kChunkBytes;
  }));
  fetcher.reset();
  busy.release();
  EXPECT_EQ(complete[0].get().value().digest.hex(), hex_of(text.substr(0, 100'000)));
  EXPECT_EQ(complete[1].get().value().digest.hex(), hex_of(text.substr(0, 300'000)));
  EXPECT_EQ(complete[2].get().value().digest.hex(), hex_of(text.substr(0, 900'000)));
  for (Operation<HashedBody>& op : paused) EXPECT_EQ(op.get().error().code, ErrorCode::kStopped);
  for (Operation<HashedBody>& op : paused) op.request_stop();  // after the end: nothing
}

TEST(FetchHash, TheLastEndMayDestroyTheFetcher) {
  struct Own final : FetchHashJob {
    Own(std::shared_ptr<HashingFetcher> owner, Gate& gate)
        : FetchHashJob(hash::Algorithm::sha256()), fetcher(std::move(owner)), done(gate) {}
    void ended(Result<HashedBody> result) noexcept override {
      EXPECT_TRUE(result.ok());
      Gate& gate = done;
      delete this;  // the fetcher with it, on an I/O thread or a worker
      gate.open();
    }
    std::shared_ptr<HashingFetcher> fetcher;
    Gate& done;
  };
  const std::string text = noise(400'000);
  ScriptedServer server;
  server.on_any([&](Connection& c, const HttpRequest& request) {
    c.reply(200, std::string_view(text).substr(0, std::stoul(request.target.substr(1))));
  });
  for (const char* size : {"/10", "/100000", "/400000"}) {
    Gate done;
    std::shared_ptr<HashingFetcher> fetcher = make_hashing();
    auto* job = new Own(fetcher, done);
    HashingFetcher& used = *fetcher;
    fetcher.reset();
    ASSERT_TRUE(job->start(used, {server.url(size), fetch::Method::kGet, {}, {}, {}}).ok());
    EXPECT_TRUE(done.wait()) << size;
  }
}

TEST(FetchHash, AFailureOfTheHashFunctionEndsTheTransfer) {
  const EVP_MD* method = offloop::testing::failing_method();
  if (method == nullptr) GTEST_SKIP() << "this OpenSSL runs MD4";
  const hash::Algorithm broken("md4", 16, method);
  struct Job final : FetchHashJob {
    using FetchHashJob::FetchHashJob;
    void ended(Result<HashedBody> result) noexcept override {
      code = result.ok() ? ErrorCode::kOk : result.error().code;
      done.open();
    }
    ErrorCode code = ErrorCode::kOk;
    Gate done;
  };
  const std::string large = repeated(10'000'000);
  ScriptedServer server;
  server.on("/large", [&](Connection& c, const HttpRequest&) { c.reply(200, large); });
  server.on("/small", [](Connection& c, const HttpRequest&) { c.reply(200, "small"); });
  server.on("/endless", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\n\r\n");
    while (c.send(large)) {
    }
    c.close();
  });
  const auto fetcher = make_hashing();
  for (const char* path : {"/small", "/large", "/endless"}) {
    Job job(broken);
    std::optional<BusyWorkers> busy(std::in_place);
    ASSERT_TRUE(job.start(*fetcher, {server.url(path), fetch::Method::kGet, {}, {}, {}}).ok());
    // Paused when it fails: it must not wait for room for ever.
    ASSERT_TRUE(path[1] == 's' || comes_true([&] { return fetcher->queued_bytes() > 3 * kChunkBytes; }));
    busy.reset();
    ASSERT_TRUE(job.done.wait()) << path;
    EXPECT_EQ(job.code, ErrorCode::kInternal) << path;
  }
  expect_at_rest(*fetcher);
}

}  // namespace
}  // namespace offloop::pipeline
