// Many producers, storms of cancels and resumes, closing under load: each accepted transfer ends exactly once. For
// ThreadSanitizer above all.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/coded_text.h"
#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::FetchProbe;
using testing::get;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::run_in_child;
using testing::ScriptedServer;

/// A consumer that pauses now and then, and that anybody may cancel or resume.
class Bold final : public BodyConsumer {
 public:
  explicit Bold(unsigned seed) : pauses_(seed % 3 == 0 ? 2 : 0) {}

  void on_accepted(TransferId id) override { id_.store(id); }
  void on_response(const ResponseHead& head) override { length_ += head.final_url.size(); }
  Flow on_body(ByteSpan bytes) override {
    if (pauses_ > 0) {
      --pauses_;
      return Flow::kPause;
    }
    length_ += bytes.size();
    return Flow::kContinue;
  }
  void on_done(Result<TransferInfo> result) override {
    if (result.ok()) right_.fetch_add(1);
    dones_.fetch_add(1);
  }

  [[nodiscard]] TransferId id() const { return id_.load(); }
  [[nodiscard]] int dones() const { return dones_.load(); }
  static int right() { return right_.load(); }

 private:
  std::atomic<TransferId> id_{0};
  std::atomic<int> dones_{0};
  int pauses_;
  std::size_t length_ = 0;
  static inline std::atomic<int> right_{0};
};

class Stress : public ::testing::Test {
 protected:
  Stress() {
    server_.on("/small", [](Connection& c, const HttpRequest&) { c.reply(200, "small"); });
    server_.on("/large", [this](Connection& c, const HttpRequest&) { c.reply(200, large_); });
    server_.on("/moved", [](Connection& c, const HttpRequest&) { c.reply(302, "", "Location: /small\r\n"); });
    server_.on("/broken", [](Connection& c, const HttpRequest&) {
      c.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
      c.reset();
    });
    server_.on("/gzip",
               [this](Connection& c, const HttpRequest&) { c.reply(200, packed_, "Content-Encoding: gzip\r\n"); });
    server_.on("/never", [](Connection& c, const HttpRequest&) {
      c.wait_until_client_closes();
      c.close();
    });
  }

  std::string url(unsigned n) {
    constexpr const char* kPaths[] = {"/small", "/large", "/moved", "/broken", "/gzip", "/small", "/never"};
    const std::string path = kPaths[n % std::size(kPaths)];
    return n % 4 == 0 ? "http://localhost:" + std::to_string(server_.port()) + path : server_.url(path);
  }

  static std::unique_ptr<Fetcher> fetcher() {
    FetcherOptions options;
    options.io_threads = 3;
    options.max_concurrent = 24;
    options.per_host = 16;
    options.timeout = 60;
    return make_fetcher(options);
  }

  /// Starts transfers and cancels, resumes or asks about earlier ones, until the fetcher is closed or `count` are
  /// started. Returns how many were accepted.
  int produce(Fetcher& fetcher, unsigned seed, int count, std::deque<Bold>& mine) {
    std::mt19937 random(seed);
    int accepted = 0;
    for (int n = 0; n < count; ++n) {
      Bold& consumer = mine.emplace_back(static_cast<unsigned>(random()));
      const auto id = fetcher.start(get(url(static_cast<unsigned>(random()))), &consumer);
      if (!id.ok()) {
        EXPECT_EQ(id.error().code, ErrorCode::kPoolClosed);
        mine.pop_back();
        break;
      }
      ++accepted;
      for (int k = 0; k < 3; ++k) {
        const Bold& other = mine[random() % mine.size()];
        if (random() % 16 == 0) fetcher.cancel(other.id());
        fetcher.resume(other.id());
      }
      if (random() % 64 == 0) (void)fetcher.stats();
    }
    return accepted;
  }

  const std::string large_ = std::string(300'000, 'x');
  const std::string packed_ = testing::gzip_packed(testing::plain_text());
  ScriptedServer server_;
};

TEST_F(Stress, EachTransferEndsOnceInAStormOfCancels) {
  constexpr unsigned kProducers = 4;
  constexpr int kEach = 500;
  const auto fetcher = this->fetcher();
  std::deque<Bold> consumers[kProducers];
  std::vector<std::thread> producers;
  for (unsigned i = 0; i < kProducers; ++i) {
    producers.emplace_back([&, i] {
      EXPECT_EQ(produce(*fetcher, i, kEach, consumers[i]), kEach);
      // What is paused goes on, what never ends is cancelled.
      for (int round = 0; round < 200; ++round) {
        for (const Bold& consumer : consumers[i]) {
          if (consumer.dones() == 0) round < 100 ? fetcher->resume(consumer.id()) : fetcher->cancel(consumer.id());
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_TRUE(fetcher->close(true, 60));
  for (const auto& all : consumers) {
    for (const Bold& consumer : all) EXPECT_EQ(consumer.dones(), 1);
  }
  EXPECT_GT(Bold::right(), 0);
  const FetcherStats stats = fetcher->stats();
  EXPECT_EQ(stats.done + stats.failed + stats.stopped, kProducers * static_cast<unsigned>(kEach));
  EXPECT_EQ(stats.queued + stats.running, 0U);
}

TEST_F(Stress, ClosingUnderLoadLosesNothing) {
  for (unsigned round = 0; round < 10; ++round) {
    const auto fetcher = this->fetcher();
    std::deque<Bold> consumers[3];
    std::atomic<int> accepted{0};
    std::atomic<int> begun{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        begun.fetch_add(1);
        accepted.fetch_add(produce(*fetcher, round * 10 + i, 100'000, consumers[i]));
      });
    }
    while (begun.load() < 3) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(round));
    threads.emplace_back([&] { EXPECT_TRUE(fetcher->close(true, 60)); });
    EXPECT_TRUE(fetcher->close(true, 60));
    for (std::thread& thread : threads) thread.join();
    int ended = 0;
    for (const auto& all : consumers) {
      for (const Bold& consumer : all) ended += consumer.dones();
    }
    EXPECT_EQ(ended, accepted.load());
  }
}

/// A child that closes what it has inherited, in the middle of everything, changes nothing for its parent.
TEST_F(Stress, ForksUnderLoadLoseNothing) {
  std::unique_ptr<Fetcher> fetcher = this->fetcher();
  std::deque<Bold> consumers[2];
  std::vector<std::thread> producers;
  for (unsigned i = 0; i < 2; ++i) {
    producers.emplace_back([&, i] { EXPECT_EQ(produce(*fetcher, 100 + i, 300, consumers[i]), 300); });
  }
  for (int n = 0; n < 10; ++n) {
    EXPECT_EQ(run_in_child([&] {
                fetcher.reset();
                return 0;
              }),
              "exit 0");
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_TRUE(fetcher->close(true, 60));
  for (const auto& all : consumers) {
    for (const Bold& consumer : all) EXPECT_EQ(consumer.dones(), 1);
  }
}

}  // namespace
}  // namespace offloop::fetch
