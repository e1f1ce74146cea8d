// What tests of the pool are made of: a group whose run() is a function, a sink that remembers, a pool of a known size.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"
#include "support/gate.h"

namespace offloop::testing {

/// A wait that takes longer than this is a hang: a wake was lost.
inline constexpr std::chrono::seconds kHang{60};

struct TestWork : runtime::Work {
  unsigned id = 0;
  unsigned quanta_left = 1;  ///< how often it wants to be run; written by the worker that has it
  std::atomic<unsigned> runs{0};
};

class TestGroup final : public runtime::Group {
 public:
  using Run = std::function<void(runtime::Quantum&)>;
  TestGroup(unsigned lanes, unsigned worker_limit, Run run)
      : Group("test", lanes, worker_limit), run_(std::move(run)) {}
  ~TestGroup() { runtime::Pool::forget(*this); }
  void run(runtime::Quantum& q) noexcept override { run_(q); }

 private:
  const Run run_;
};

/// One quantum for each work at hand; those that have had all theirs end with a value.
inline void run_one_quantum(runtime::Quantum& q) {
  for (unsigned i = q.count; i-- > 0;) {
    auto& work = static_cast<TestWork&>(*q.works[i]);
    work.runs.fetch_add(1, std::memory_order_relaxed);
    if (--work.quanta_left == 0) q.end(i, runtime::Outcome::kValue);
  }
}

class TestSink final : public runtime::Sink {
 public:
  void accept(runtime::PortItem* first, runtime::PortItem*) noexcept override {
    const std::lock_guard lock(mutex_);
    const std::size_t before = ended_.size();
    for (; first != nullptr; first = first->next) ended_.push_back(static_cast<TestWork*>(first));
    std::reverse(ended_.begin() + static_cast<std::ptrdiff_t>(before), ended_.end());  // chains are newest first
    ++calls_;
    changed_.notify_all();
  }
  /// False when fewer than n works have come after a very long time.
  [[nodiscard]] bool wait_for(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kHang, [&] { return ended_.size() >= n; });
  }
  /// In the order in which they ended.
  [[nodiscard]] std::vector<TestWork*> ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  [[nodiscard]] std::size_t calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TestWork*> ended_;
  std::size_t calls_ = 0;
};

/// n works for one group and sink, linked and numbered.
class Works {
 public:
  Works(std::size_t n, runtime::Group& group, runtime::Sink& sink, unsigned quanta = 1) : works_(n) {
    for (std::size_t i = 0; i < n; ++i) {
      works_[i].id = static_cast<unsigned>(i);
      works_[i].group = &group;
      works_[i].sink = &sink;
      works_[i].quanta_left = quanta;
      works_[i].next = i + 1 < n ? &works_[i + 1] : nullptr;
    }
  }
  TestWork& operator[](std::size_t i) { return works_[i]; }
  [[nodiscard]] std::size_t size() const { return works_.size(); }
  [[nodiscard]] bool submit_all() { return runtime::Pool::instance()->submit(works_.data(), works_.size()); }
  auto begin() { return works_.begin(); }
  auto end() { return works_.end(); }

 private:
  std::vector<TestWork> works_;
};

/// Occupies one worker until it is opened. Destroyed only after that.
class Blocker {
 public:
  Blocker()
      : operation_(spawn([this](StopToken) {
          running_.open();
          go_.wait();
        })) {
    running_.wait();
  }
  ~Blocker() {
    go_.open();
    (void)operation_.get();
  }
  void open() { go_.open(); }

 private:
  Gate running_, go_;
  Operation<Unit> operation_;
};

/// How many threads of this process are workers, by their name, which a new one gives itself first of all.
inline unsigned worker_threads() {
  unsigned n = 0;
  DIR* tasks = ::opendir("/proc/self/task");
  while (const dirent* task = ::readdir(tasks)) {
    const std::string path = std::string("/proc/self/task/") + task->d_name + "/comm";
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) continue;
    char name[32] = {};
    if (std::fgets(name, sizeof name, file) != nullptr && std::strncmp(name, "offloop-w", 9) == 0) ++n;
    std::fclose(file);
  }
  ::closedir(tasks);
  return n;
}

/// Returns when exactly so many workers exist; false when that never comes true.
[[nodiscard]] inline bool until_worker_threads(unsigned threads) {
  const auto until = std::chrono::steady_clock::now() + kHang;
  while (worker_threads() != threads) {
    if (std::chrono::steady_clock::now() > until) return false;
    ::sched_yield();
  }
  return true;
}

/// Sets the pool's size and returns when exactly so many workers exist; false when that never comes true.
[[nodiscard]] inline bool resize_pool(unsigned threads) {
  runtime::PoolOptions options;
  options.threads = threads;
  return runtime::Pool::configure(options).ok() && runtime::Pool::instance() != nullptr &&
         until_worker_threads(threads);
}

}  // namespace offloop::testing
