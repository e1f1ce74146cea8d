// What tests of hashing are made of: OpenSSL's answer, workers that are kept busy, listeners that remember.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "offloop/hash/piece_stream.h"
#include "offloop/runtime/operation.h"

namespace offloop::testing {

using Bytes = std::vector<std::uint8_t>;

/// Bytes that look random and are the same on every run.
inline Bytes noise_bytes(std::size_t n, std::uint64_t seed) {
  Bytes bytes(n);
  std::uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::uint8_t& byte : bytes) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    byte = static_cast<std::uint8_t>(x >> 32);
  }
  return bytes;
}

/// OpenSSL's digest, in hexadecimal; `name` is OpenSSL's.
inline std::string openssl_hex(ByteSpan data, const char* name = "SHA256") {
  std::uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_MD* method = EVP_MD_fetch(nullptr, name, nullptr);
  EXPECT_NE(method, nullptr) << name;
  EXPECT_EQ(EVP_Digest(data.data(), data.size(), digest, &size, method, nullptr), 1);
  EVP_MD_free(method);
  return to_hex({digest, size});
}

/// False when the condition does not come true in a time that only a hang takes.
template <class Condition>
[[nodiscard]] bool comes_true(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    ::sched_yield();
  }
  return true;
}

/// True once no worker runs or spins: nobody looks at a plan, a group or a stream any more.
[[nodiscard]] inline bool pool_comes_to_rest() {
  runtime::Pool* pool = runtime::Pool::instance();
  return comes_true([pool] {
    const runtime::PoolStats stats = pool->stats();
    return stats.queued == 0 && stats.running == 0 && stats.sleeping == stats.threads;
  });
}

/// Keeps every worker inside a plain task until release(): what is submitted meanwhile stays in the queue.
class BusyWorkers {
 public:
  BusyWorkers() {
    const unsigned n = runtime::Pool::instance()->threads();
    for (unsigned i = 0; i < n; ++i) {
      tasks_.push_back(spawn([this](StopToken) {
        inside_.fetch_add(1);
        released_.wait(false);
      }));
    }
    EXPECT_TRUE(comes_true([&] { return inside_.load() == n; }));
  }
  ~BusyWorkers() { release(); }
  BusyWorkers(const BusyWorkers&) = delete;
  BusyWorkers& operator=(const BusyWorkers&) = delete;

  void release() {
    released_.store(true);
    released_.notify_all();
    for (Operation<Unit>& task : tasks_) EXPECT_TRUE(task.get().ok());
    tasks_.clear();
  }

 private:
  std::atomic<unsigned> inside_{0};
  std::atomic<bool> released_{false};
  std::vector<Operation<Unit>> tasks_;
};

/// Where streams end; waits for a number of them.
class StreamSink final : public runtime::Sink {
 public:
  void accept(runtime::PortItem* first, runtime::PortItem*) noexcept override {
    const std::lock_guard lock(mutex_);
    ++batches_;
    for (; first != nullptr; first = first->next) ++ended_;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait_for(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return ended_ >= n; });
  }
  [[nodiscard]] std::size_t ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  /// How many times accept() was called: streams that end in the same step come together.
  [[nodiscard]] std::size_t batches() const {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t ended_ = 0;
  std::size_t batches_ = 0;
};

/// Remembers what a PieceStream told.
class PieceProbe final : public hash::PieceStream::Listener {
 public:
  void on_consumed(std::size_t bytes) noexcept override {
    EXPECT_EQ(ends_.load(), 0) << "on_consumed after on_end";
    consumed_.fetch_add(bytes);
    calls_.fetch_add(1);
    if (when_consumed) when_consumed();
  }
  void on_end(runtime::Outcome outcome, const hash::Digest& digest) noexcept override {
    outcome_ = outcome;
    digest_ = digest;
    if (drop_at_end != nullptr) drop_at_end->drop();
    EXPECT_EQ(ends_.fetch_add(1), 0) << "on_end twice";
  }
  [[nodiscard]] bool wait() const {
    return comes_true([this] { return ends_.load() != 0; });
  }
  [[nodiscard]] bool wait_for_consumed(unsigned calls) const {
    return comes_true([this, calls] { return calls_.load() >= calls; });
  }

  [[nodiscard]] int ends() const { return ends_.load(); }
  [[nodiscard]] std::size_t consumed() const { return consumed_.load(); }
  [[nodiscard]] runtime::Outcome outcome() const { return outcome_; }  // after wait()
  [[nodiscard]] std::string hex() const { return digest_.hex(); }      // after wait()
  hash::PieceStream* drop_at_end = nullptr;
  std::function<void()> when_consumed;

 private:
  std::atomic<int> ends_{0};
  std::atomic<unsigned> calls_{0};
  std::atomic<std::size_t> consumed_{0};
  runtime::Outcome outcome_ = runtime::Outcome::kNone;
  hash::Digest digest_;
};

inline hash::Chunk* chunk_of(ByteSpan bytes) {
  hash::Chunk* chunk = hash::make_chunk(std::max<std::size_t>(bytes.size(), 64));
  std::copy(bytes.begin(), bytes.end(), chunk->data());
  chunk->size = bytes.size();
  return chunk;
}

/// A method that this OpenSSL refuses to run (MD4, without the legacy provider): the stream ends as kError. Null where
/// it runs.
inline const EVP_MD* failing_method() {
  EVP_MD* fetched = EVP_MD_fetch(nullptr, "MD4", nullptr);
  EVP_MD_free(fetched);
  return fetched == nullptr ? EVP_md4() : nullptr;
}

}  // namespace offloop::testing
