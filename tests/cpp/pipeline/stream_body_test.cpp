// Bodies passed on in chunks, and into files.
#include "offloop/pipeline/stream_body.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/scripted_server.h"
#include "support/temp_dir.h"

namespace offloop::pipeline {
namespace {

using hash::Chunk;
using hash::kChunkBytes;
using offloop::testing::comes_true;
using offloop::testing::Connection;
using offloop::testing::Counter;
using offloop::testing::Gate;
using offloop::testing::HttpRequest;
using offloop::testing::ScriptedServer;
using offloop::testing::TempDir;

std::string noise(std::size_t n, std::uint64_t seed = 1) {
  const offloop::testing::Bytes bytes = offloop::testing::noise_bytes(n, seed);
  return {bytes.begin(), bytes.end()};
}

std::unique_ptr<fetch::Fetcher> make_fetcher(fetch::FetcherOptions options = {}) {
  options.timeout = 600;  // no limit of its own ends what a test waits for
  options.low_speed_time = 0;
  auto made = fetch::Fetcher::create(std::move(options));
  EXPECT_TRUE(made.ok());
  return std::move(made).value();
}

fetch::Request request_of(const std::string& url) {
  return {url, fetch::Method::kGet, {}, {}, {}};
}

/// Appends each chunk at once, or keeps them until they are asked for.
class Collecting final : public StreamJob {
 public:
  explicit Collecting(bool keeps = false) : keeps_(keeps) {}
  ~Collecting() override { use_all(); }

  /// Uses the chunks that came so far, in order, here.
  void use_all() {
    std::deque<Chunk*> chunks;
    {
      const std::lock_guard lock(mutex_);
      chunks.swap(kept_);
    }
    for (Chunk* chunk : chunks) use(chunk);
  }
  [[nodiscard]] std::size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }
  ErrorCode wait() {
    EXPECT_TRUE(done.wait());
    return result->ok() ? ErrorCode::kOk : result->error().code;
  }

  std::string body;
  std::vector<std::size_t> sizes;
  std::optional<Result<fetch::TransferInfo>> result;
  Gate done;

 private:
  void on_chunk(Chunk* chunk) noexcept override {
    EXPECT_FALSE(result.has_value()) << "a chunk after the end";
    if (!keeps_) return use(chunk);
    const std::lock_guard lock(mutex_);
    kept_.push_back(chunk);
  }
  void on_end(Result<fetch::TransferInfo> end) noexcept override {
    EXPECT_FALSE(result.has_value()) << "on_end twice";
    result.emplace(std::move(end));
    done.open();
  }
  void use(Chunk* chunk) {
    body.append(reinterpret_cast<const char*>(chunk->data()), chunk->size);
    sizes.push_back(chunk->size);
    chunk_done(chunk);
  }

  const bool keeps_;
  std::mutex mutex_;
  std::deque<Chunk*> kept_;
};

struct Bodies {
  std::string text = noise(12 * kChunkBytes + 12345);
  ScriptedServer server;
  Counter sent_half;
  Counter closed;
  Bodies() {
    server.on_any([this](Connection& c, const HttpRequest& request) {
      c.reply(200, std::string_view(text).substr(0, std::stoul(request.target.substr(1))));
    });
    server.on("/half", [this](Connection& c, const HttpRequest&) {
      c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + text.substr(0, 3 * kChunkBytes / 2));
      sent_half.add();
      if (c.wait_until_client_closes()) closed.add();
      c.close();
    });
    server.on("/cut", [this](Connection& c, const HttpRequest&) {
      c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + text.substr(0, 3 * kChunkBytes / 2));
      c.close();
    });
    server.on("/404", [](Connection& c, const HttpRequest&) { c.reply(404, "not here"); });
  }
  [[nodiscard]] std::string of(std::size_t size) const { return server.url("/" + std::to_string(size)); }
};

TEST(StreamJob, ChunksComeInOrderFullButTheLast) {
  Bodies bodies;
  const auto fetcher = make_fetcher();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kChunkBytes - 1, kChunkBytes, kChunkBytes + 1, bodies.text.size()}) {
    Collecting job;
    ASSERT_TRUE(job.start(*fetcher, request_of(bodies.of(size))).ok());
    ASSERT_EQ(job.wait(), ErrorCode::kOk) << size;
    EXPECT_TRUE(job.body == bodies.text.substr(0, size)) << size;
    EXPECT_EQ(job.result->value().body_bytes, size);
    EXPECT_EQ(job.sizes.size(), (size + kChunkBytes - 1) / kChunkBytes);
    for (std::size_t i = 0; i + 1 < job.sizes.size(); ++i) EXPECT_EQ(job.sizes[i], kChunkBytes);
  }
}

TEST(StreamJob, ChunksThatAreNotUsedPauseTheTransfer) {
  Bodies bodies;
  const auto fetcher = make_fetcher();
  Collecting job(true);
  ASSERT_TRUE(job.start(*fetcher, request_of(bodies.of(bodies.text.size()))).ok());
  while (!job.done.wait(std::chrono::seconds(0))) {
    ASSERT_TRUE(comes_true([&] { return job.kept() >= 4 || job.done.wait(std::chrono::seconds(0)); }));
    // The I/O thread goes round and round: it would have brought more.
    for (int i = 0; i < 30; ++i) {
      Collecting small;
      ASSERT_TRUE(small.start(*fetcher, request_of(bodies.of(5))).ok());
      ASSERT_EQ(small.wait(), ErrorCode::kOk);
    }
    EXPECT_LE(job.kept(), 5U);
    EXPECT_TRUE(job.kept() == 4 || job.done.wait(std::chrono::seconds(0)));
    job.use_all();
  }
  EXPECT_EQ(job.wait(), ErrorCode::kOk);
  job.use_all();
  EXPECT_TRUE(job.body == bodies.text);
}

TEST(StreamJob, AUserOnAnotherThreadKeepsItGoing) {
  Bodies bodies;
  const auto fetcher = make_fetcher();
  for (int round = 0; round < 20; ++round) {
    Collecting job(true);
    std::atomic<bool> over{false};
    std::thread user([&] {
      while (!over.load()) job.use_all();
    });
    ASSERT_TRUE(job.start(*fetcher, request_of(bodies.of(bodies.text.size()))).ok());
    EXPECT_EQ(job.wait(), ErrorCode::kOk);
    over.store(true);
    user.join();
    job.use_all();
    EXPECT_TRUE(job.body == bodies.text);
  }
}

TEST(StreamJob, FailuresAndCancelsEndItOnce) {
  Bodies bodies;
  const auto fetcher = make_fetcher();
  Collecting cut, missing, cancelled, refused;
  ASSERT_TRUE(cut.start(*fetcher, request_of(bodies.server.url("/cut"))).ok());
  EXPECT_EQ(cut.wait(), ErrorCode::kIncompleteBody);
  EXPECT_EQ(cut.body.size(), kChunkBytes) << "an unfinished chunk of a failed body is not passed on";
  ASSERT_TRUE(missing.start(*fetcher, request_of(bodies.server.url("/404"))).ok());
  EXPECT_EQ(missing.wait(), ErrorCode::kHttpStatus);
  EXPECT_EQ(missing.body, "");
  EXPECT_EQ(refused.start(*fetcher, request_of("http://")).error().code, ErrorCode::kInvalidUrl);
  refused.cancel();

  ASSERT_TRUE(cancelled.start(*fetcher, request_of(bodies.server.url("/half"))).ok());
  ASSERT_TRUE(bodies.sent_half.wait_for_at_least(1));
  cancelled.cancel();
  EXPECT_EQ(cancelled.wait(), ErrorCode::kStopped);
  EXPECT_TRUE(bodies.closed.wait_for_at_least(1));
  cancelled.cancel();
}

TEST(StreamJob, ChunksMayBeOutLongerThanTheFetcherLives) {
  Bodies bodies;
  auto fetcher = make_fetcher();
  Collecting job(true);
  ASSERT_TRUE(job.start(*fetcher, request_of(bodies.of(bodies.text.size()))).ok());
  ASSERT_TRUE(comes_true([&] { return job.kept() == 4; }));
  fetcher.reset();
  EXPECT_EQ(job.wait(), ErrorCode::kStopped);
  job.use_all();  // it was paused: this must not resume what is gone
  job.cancel();
  EXPECT_TRUE(job.body == bodies.text.substr(0, 4 * kChunkBytes));
}

class File final : public FetchFileJob {
 public:
  using FetchFileJob::FetchFileJob;
  ErrorCode wait() {
    EXPECT_TRUE(done_.wait());
    return result_->ok() ? ErrorCode::kOk : result_->error().code;
  }
  [[nodiscard]] const Error& error() const { return result_->error(); }

 private:
  void ended(Result<fetch::TransferInfo> result) noexcept override {
    EXPECT_FALSE(result_.has_value()) << "ended twice";
    result_.emplace(std::move(result));
    done_.open();
  }
  std::optional<Result<fetch::TransferInfo>> result_;
  Gate done_;
};

TEST(FetchFileJob, WritesTheBodyAndRenamesIt) {
  Bodies bodies;
  const TempDir dir;
  const auto fetcher = make_fetcher();
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kChunkBytes, bodies.text.size()}) {
    dir.write("old", std::string("what was there before"));
    File job(dir / "old");
    ASSERT_TRUE(job.start(*fetcher, request_of(bodies.of(size))).ok());
    ASSERT_EQ(job.wait(), ErrorCode::kOk) << size;
    EXPECT_TRUE(dir.read("old") == bodies.text.substr(0, size)) << size;
    EXPECT_FALSE(dir.has("old.part"));
  }
}

TEST(FetchFileJob, ManyFilesAtOnce) {
  Bodies bodies;
  const TempDir dir;
  const auto fetcher = make_fetcher();
  std::deque<File> jobs;
  const auto size_of = [](std::size_t i) { return (i * i * 997) % 600'000; };
  for (std::size_t i = 0; i < 60; ++i) {
    jobs.emplace_back(dir / std::to_string(i));
    ASSERT_TRUE(jobs.back().start(*fetcher, request_of(bodies.of(size_of(i)))).ok());
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    ASSERT_EQ(jobs[i].wait(), ErrorCode::kOk);
    EXPECT_TRUE(dir.read(std::to_string(i)) == bodies.text.substr(0, size_of(i))) << i;
  }
}

TEST(FetchFileJob, AFailedTransferLeavesWhatWasThere) {
  Bodies bodies;
  const TempDir dir;
  const auto fetcher = make_fetcher();
  dir.write("name", std::string("before"));
  File cut(dir / "name");
  ASSERT_TRUE(cut.start(*fetcher, request_of(bodies.server.url("/cut"))).ok());
  EXPECT_EQ(cut.wait(), ErrorCode::kIncompleteBody);
  File missing(dir / "name");
  ASSERT_TRUE(missing.start(*fetcher, request_of(bodies.server.url("/404"))).ok());
  EXPECT_EQ(missing.wait(), ErrorCode::kHttpStatus);
  File cancelled(dir / "name");
  ASSERT_TRUE(cancelled.start(*fetcher, request_of(bodies.server.url("/half"))).ok());
  ASSERT_TRUE(comes_true([&] { return dir.has("name.part"); }));
  cancelled.cancel();
  EXPECT_EQ(cancelled.wait(), ErrorCode::kStopped);
  EXPECT_TRUE(bodies.closed.wait_for_at_least(1));
  EXPECT_EQ(dir.read("name"), "before");
  EXPECT_FALSE(dir.has("name.part"));
}

TEST(FetchFileJob, AFileThatCannotBeWrittenIsTheErrorAndEndsTheTransfer) {
  Bodies bodies;
  const TempDir dir;
  const auto fetcher = make_fetcher();
  const auto expect_error = [&](const std::string& path, const std::string& url, int system) {
    File job(path);
    ASSERT_TRUE(job.start(*fetcher, request_of(url)).ok());
    EXPECT_EQ(job.wait(), ErrorCode::kIo) << path;
    EXPECT_EQ(job.error().context, path);
    EXPECT_EQ(job.error().system, system) << job.error().message;
  };
  expect_error(dir / "no-such-folder/name", bodies.of(10), ENOENT);
  expect_error(dir / "no-such-folder/name", bodies.of(0), ENOENT);
  expect_error(dir / "no-such-folder/name", bodies.server.url("/half"), ENOENT);  // ends although the body never does
  EXPECT_TRUE(bodies.closed.wait_for_at_least(1));
  expect_error(dir.write("plain", std::string("x")) + "/name", bodies.of(10), ENOTDIR);

  std::filesystem::create_directory(dir / "folder");
  dir.write("folder/inside", std::string("x"));
  expect_error(dir / "folder", bodies.of(10), EISDIR);  // the rename fails
  EXPECT_FALSE(dir.has("folder.part"));

  ASSERT_EQ(::symlink("/dev/full", (dir / "full.part").c_str()), 0);
  expect_error(dir / "full", bodies.of(bodies.text.size()), ENOSPC);
  EXPECT_FALSE(dir.has("full"));
  EXPECT_FALSE(std::filesystem::is_symlink(dir / "full.part"));
}

TEST(FetchFileJob, TheFetcherMayBeDestroyedWhileTheWriterStillWrites) {
  Bodies bodies;
  const TempDir dir;
  for (int round = 0; round < 20; ++round) {
    auto fetcher = make_fetcher();
    File good(dir / "good"), bad(dir / "no-such-folder/bad");
    ASSERT_TRUE(good.start(*fetcher, request_of(bodies.of(bodies.text.size()))).ok());
    ASSERT_TRUE(bad.start(*fetcher, request_of(bodies.of(bodies.text.size()))).ok());
    ASSERT_TRUE(bodies.server.request_counter().wait_for_at_least(2 * (round + 1)));
    fetcher.reset();
    const ErrorCode code = good.wait();
    EXPECT_TRUE(code == ErrorCode::kStopped || code == ErrorCode::kOk);
    EXPECT_EQ(dir.has("good"), code == ErrorCode::kOk);
    EXPECT_FALSE(dir.has("good.part"));
    EXPECT_NE(bad.wait(), ErrorCode::kOk);
    std::filesystem::remove(dir / "good");
  }
}

}  // namespace
}  // namespace offloop::pipeline
