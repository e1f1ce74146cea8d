// Pool and ports together under load: many producers, cancel storms, ports that close, forks. For ThreadSanitizer above
// all.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "offloop/runtime/fork.h"
#include "offloop/runtime/pool.h"
#include "offloop/runtime/port.h"
#include "support/child.h"
#include "support/counters_listener.h"
#include "support/sanitizer_options.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

using testing::resize_pool;
using testing::run_one_quantum;
using testing::TestGroup;
using testing::TestWork;
using testing::Works;

std::atomic<unsigned> g_orphans{0};

/// A loop of its own: submits works whose sink is its port, polls, drains, until all have come back once.
class Loop {
 public:
  Loop(TestGroup& group, std::size_t n)
      : port_(Port::create([](Port*) noexcept { ++g_orphans; })), works_(n, group, *port_, 2), seen_(n) {}
  ~Loop() { port_->unref(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// False when a wake was lost.
  bool run() {
    if (!works_.submit_all()) return false;
    while (back_ < works_.size()) {
      pollfd readable{port_->fd(), POLLIN, 0};
      if (::poll(&readable, 1, 60'000) != 1) return false;
      drain();
    }
    return true;
  }
  /// Closes the port while works are out; the rest is fetched without being called.
  void run_and_close() {
    (void)works_.submit_all();
    drain();
    port_->close();
    while (back_ < works_.size()) {
      drain();
      std::this_thread::yield();
    }
  }
  TestWork& work(std::size_t i) { return works_[i]; }
  [[nodiscard]] std::size_t size() const { return works_.size(); }
  [[nodiscard]] bool each_once() const {
    return std::all_of(seen_.begin(), seen_.end(), [](unsigned n) { return n == 1; });
  }

 private:
  void drain() {
    for (PortItem* item = port_->drain(); item != nullptr; item = item->next, ++back_)
      ++seen_[static_cast<TestWork*>(item)->id];
  }
  Port* port_;
  Works works_;
  std::vector<unsigned> seen_;
  std::size_t back_ = 0;
};

TEST(Storm, LoopsInEightThreadsUnderACancelStorm) {
  ASSERT_TRUE(resize_pool(3));
  TestGroup group(16, 0, run_one_quantum);
  std::atomic<unsigned> failed{0};
  for (unsigned round = 0; round < 10; ++round) {
    std::vector<std::unique_ptr<Loop>> loops;
    for (unsigned t = 0; t < 8; ++t) loops.push_back(std::make_unique<Loop>(group, 100));
    std::atomic<bool> enough{false};
    std::vector<std::thread> cancellers;
    for (unsigned c = 0; c < 2; ++c) {
      cancellers.emplace_back([&, c] {
        std::minstd_rand random(round * 2 + c + 1);
        while (!enough) {
          Loop& loop = *loops[random() % loops.size()];
          TestWork& work = loop.work(random() % loop.size());
          if (random() % 2 == 0) {
            (void)work.try_stop_queued();
          } else {
            work.request_stop();
          }
        }
      });
    }
    std::vector<std::thread> threads;
    for (auto& loop : loops) {
      threads.emplace_back([&failed, &loop] {
        if (!loop->run()) ++failed;
      });
    }
    for (auto& thread : threads) thread.join();
    enough = true;
    for (auto& thread : cancellers) thread.join();
    ASSERT_EQ(failed, 0U) << "a wake was lost, round " << round;
    for (auto& loop : loops) EXPECT_TRUE(loop->each_once());
  }
}

TEST(Storm, PortsThatCloseWhileTheirWorksRun) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup group(8, 0, run_one_quantum);
  for (unsigned round = 0; round < 100; ++round) {
    std::vector<std::unique_ptr<Loop>> loops;
    for (unsigned t = 0; t < 4; ++t) loops.push_back(std::make_unique<Loop>(group, 20));
    std::vector<std::thread> threads;
    for (auto& loop : loops) threads.emplace_back([&loop] { loop->run_and_close(); });
    for (auto& thread : threads) thread.join();
    for (auto& loop : loops) EXPECT_TRUE(loop->each_once());
  }
}

// The parent's side of a fork, and what a child does that starts no thread. (Children that do: pool_fork_test.cpp;
// there ThreadSanitizer's runtime cannot follow.)
TEST(Storm, ForksUnderLoadDisturbNobody) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup group(16, 0, run_one_quantum);
  std::atomic<bool> enough{false};
  std::atomic<unsigned> failed{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!enough) {
        Loop loop(group, 50);
        if (!loop.run() || !loop.each_once()) ++failed;
      }
    });
  }
  Port* port = Port::create(nullptr);
  for (unsigned i = 0; i < 50; ++i) {
    PortItem item;
    port->accept(&item, &item);
    const std::uint32_t generation = fork_generation();
    EXPECT_EQ(testing::run_in_child([&] {
                if (fork_generation() != generation + 1 || Pool::instance_if_started() != nullptr) return 1;
                if (port->drain() != &item) return 2;
                port->rearm();
                port->close();
                return port->fd() == -1 ? 0 : 3;
              }),
              "exit 0");
    pollfd readable{port->fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&readable, 1, 0), 1) << "the child has taken the parent's wake";
    EXPECT_EQ(port->drain(), &item);
  }
  port->unref();
  enough = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failed, 0U);
}

}  // namespace
}  // namespace offloop::runtime
