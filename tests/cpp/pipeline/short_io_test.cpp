// Files and sockets that give and take a few bytes at a time, with interruptions: nothing of it shows in the results.
#include "support/short_io.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "offloop/hash/hash.h"
#include "offloop/pipeline/fetch_hash.h"
#include "offloop/pipeline/stream_body.h"
#include "support/coded_text.h"
#include "support/hash_probe.h"
#include "support/scripted_server.h"
#include "support/temp_dir.h"

namespace offloop::pipeline {
namespace {

using offloop::testing::Bytes;
using offloop::testing::comes_true;
using offloop::testing::Connection;
using offloop::testing::HttpRequest;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::ScriptedServer;
using offloop::testing::TempDir;

class ShortIo : public ::testing::Test {
 protected:
  ShortIo() { testing::g_short_io.store(true); }
  ~ShortIo() override {
    testing::g_short_io.store(false);
    EXPECT_GT(testing::g_short_calls.exchange(0), 100U);
    EXPECT_GT(testing::g_interrupted.exchange(0), 20U);
  }
};

class FileCopy final : public FetchFileJob {
 public:
  using FetchFileJob::FetchFileJob;
  std::atomic<bool> done{false};
  Result<fetch::TransferInfo> result{Error(ErrorCode::kInternal, "not ended")};

 private:
  void ended(Result<fetch::TransferInfo> ended_with) noexcept override {
    result = std::move(ended_with);
    done.store(true);
  }
};

fetch::FetcherOptions patient() {
  fetch::FetcherOptions options;
  options.timeout = 600;
  options.low_speed_time = 0;
  return options;
}

TEST_F(ShortIo, FilesAreHashedRight) {
  const TempDir dir;
  std::deque<Operation<hash::Digest>> operations;
  std::vector<Bytes> contents;
  for (const std::size_t size : {0UL, 1UL, 4096UL, 300'000UL}) {
    contents.push_back(noise_bytes(size, size));
    operations.push_back(hash::file_digest(dir.write(std::to_string(size), contents.back())));
  }
  operations.push_back(hash::file_digest(dir / "300000", "sha512"));
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const Result<hash::Digest> digest = operations[i].get();
    ASSERT_TRUE(digest.ok()) << digest.error().message;
    EXPECT_EQ(digest.value().hex(), openssl_hex(contents[i]));
  }
  EXPECT_EQ(operations.back().get().value().hex(), openssl_hex(contents.back(), "SHA512"));
}

TEST_F(ShortIo, BodiesAreFetchedAndHashedRight) {
  const Bytes noise = noise_bytes(400'000, 1);
  const std::string body(noise.begin(), noise.end());
  const std::string packed = testing::gzip_packed(testing::plain_text());
  ScriptedServer server;
  server.on("/plain", [&](Connection& c, const HttpRequest&) { c.reply(200, body); });
  server.on("/gzip", [&](Connection& c, const HttpRequest&) { c.reply(200, packed, "Content-Encoding: gzip\r\n"); });
  server.on("/chunked", [&](Connection& c, const HttpRequest&) {
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 1000; ++i) c.send("5\r\nhello\r\n");
    c.send("0\r\n\r\n");
  });
  std::string hellos;
  for (int i = 0; i < 1000; ++i) hellos += "hello";
  const auto fetcher = std::move(HashingFetcher::create(patient())).value();
  std::deque<std::pair<Operation<HashedBody>, std::string>> wanted;
  for (int n = 0; n < 3; ++n) {
    for (const auto& [path, text] :
         {std::pair{"/plain", body}, {"/gzip", testing::plain_text()}, {"/chunked", hellos}}) {
      wanted.emplace_back(fetcher->fetch_and_hash(server.url(path)),
                          openssl_hex({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
    }
  }
  for (auto& [operation, digest] : wanted) {
    const Result<HashedBody> hashed = operation.get();
    ASSERT_TRUE(hashed.ok()) << hashed.error().message;
    EXPECT_EQ(hashed.value().digest.hex(), digest);
  }
}

TEST_F(ShortIo, BodiesAreWrittenWhole) {
  const TempDir dir;
  const Bytes noise = noise_bytes(300'000, 2);
  const std::string body(noise.begin(), noise.end());
  ScriptedServer server;
  server.on("/", [&](Connection& c, const HttpRequest&) { c.reply(200, body); });
  const auto fetcher = std::move(fetch::Fetcher::create(patient())).value();
  FileCopy copy(dir / "body");
  ASSERT_TRUE(copy.start(*fetcher, {server.url("/"), fetch::Method::kGet, {}, {}, {}}).ok());
  ASSERT_TRUE(comes_true([&] { return copy.done.load(); }));
  ASSERT_TRUE(copy.result.ok()) << copy.result.error().message;
  EXPECT_TRUE(dir.read("body") == body);
}

}  // namespace
}  // namespace offloop::pipeline
