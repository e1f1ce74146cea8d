// The pool under load. A lost wake shows as a wait that never ends.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "offloop/runtime/clock.h"
#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"
#include "support/counters_listener.h"
#include "support/gate.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

using testing::Gate;
using testing::resize_pool;
using testing::run_one_quantum;
using testing::TestGroup;
using testing::TestSink;
using testing::TestWork;
using testing::Works;

/// Submits one work at a time and spins until it has ended; gives up after a very long time.
class PingPong final : public Sink {
 public:
  explicit PingPong(Group& group) {
    work_.group = &group;
    work_.sink = this;
  }
  bool once() {
    back_.store(false, std::memory_order_relaxed);
    work_.quanta_left = 1;
    if (!Pool::instance()->submit(&work_)) return false;
    const std::int64_t limit = now_ns() + std::chrono::nanoseconds(testing::kHang).count();
    while (!back_.load(std::memory_order_acquire)) {
      std::this_thread::yield();
      if (now_ns() > limit) return false;
    }
    return true;
  }
  void accept(PortItem*, PortItem*) noexcept override { back_.store(true, std::memory_order_release); }

 private:
  TestWork work_;
  std::atomic<bool> back_{false};
};

void stay_idle(std::int64_t ns) {
  const std::int64_t until = now_ns() + ns;
  while (now_ns() < until) std::this_thread::yield();
}

TEST(PoolStress, NoWakeIsLostBetweenBurstsOfEightThreads) {
  constexpr unsigned kThreads = 8;
  constexpr unsigned kEach = 100'000 / kThreads;
  ASSERT_TRUE(resize_pool(3));
  TestGroup group(16, 0, run_one_quantum);
  std::atomic<unsigned> failed{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t + 1);
      PingPong ball(group);
      for (unsigned i = 0; i < kEach && failed == 0; ++i) {
        if (!ball.once()) ++failed;
        if (i % 256 == 255) stay_idle(static_cast<std::int64_t>(random() % 300'000));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failed, 0U);
}

// Gaps around the 50 us that a worker spins: the submit meets it while it goes to sleep.
TEST(PoolStress, NoWakeIsLostWhileTheLastWorkerFallsAsleep) {
  for (const unsigned threads : {1U, 2U, 4U}) {
    ASSERT_TRUE(resize_pool(threads));
    TestGroup group(1, 0, run_one_quantum);
    PingPong ball(group);
    for (unsigned i = 0; i < 2000; ++i) {
      ASSERT_TRUE(ball.once()) << threads << " threads, after " << i;
      stay_idle(40'000 + (i * 37) % 25'000);
    }
  }
}

// A long task leaves the count of those who will look soon; what was submitted in that moment must find another worker.
TEST(PoolStress, NoWakeIsLostWhileWorkersTurnToLongTasks) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup quick(1, 0, run_one_quantum);
  PingPong ball(quick);
  for (unsigned i = 0; i < 5000; ++i) {
    Gate done;
    auto blocked = spawn([&](StopToken) { done.wait(); });
    for (unsigned k = 0; k < (i * 7) % 500; ++k)
      std::atomic_signal_fence(std::memory_order_seq_cst);  // 0 to 1 us or so
    ASSERT_TRUE(ball.once()) << "after " << i;
    done.open();
    (void)blocked.get();
  }
}

// As above, with a batch group whose refill() takes the whole inbox, also what is for others, and then takes long.
TEST(PoolStress, NoWakeIsLostWhenALongBatchTakesTheInboxInARefill) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup quick(1, 0, run_one_quantum);
  PingPong ball(quick);
  std::atomic<bool> refilling{false};
  std::atomic<bool> done{false};
  TestGroup slow(4, 0, [&](Quantum& q) {
    refilling = true;
    while (!done) {
      q.refill();
      std::this_thread::yield();
    }
    while (q.count != 0) q.end(0, Outcome::kValue);
  });
  slow.prompt = false;
  for (unsigned i = 0; i < 1000; ++i) {
    TestSink sink;
    Works works(1, slow, sink);
    refilling = done = false;
    ASSERT_TRUE(works.submit_all());
    while (!refilling) std::this_thread::yield();
    ASSERT_TRUE(ball.once()) << "after " << i;
    done = true;
    ASSERT_TRUE(sink.wait_for(1));
  }
}

// All tasks of a round wait for each other: with one worker fewer than configured it never ends.
TEST(PoolStress, APoolThatShrinksAndGrowsAtOnceHasAllItsWorkers) {
  ASSERT_TRUE(resize_pool(4));
  for (unsigned round = 0; round < 3000; ++round) {
    PoolOptions options;
    options.threads = 1 + round % 3;
    ASSERT_TRUE(Pool::configure(options).ok());
    stay_idle((round * 7) % 60 * 1000);  // from before the first worker has left to after the last
    options.threads = 4;
    ASSERT_TRUE(Pool::configure(options).ok());
    std::atomic<unsigned> here{0};
    std::vector<Operation<bool>> tasks;
    for (unsigned i = 0; i < 4; ++i) {
      tasks.push_back(spawn([&](StopToken) {
        ++here;
        const std::int64_t limit = now_ns() + 30'000'000'000;
        while (here < 4 && now_ns() < limit) std::this_thread::yield();
        return here == 4;
      }));
    }
    bool met = true;
    for (auto& task : tasks) met = task.get().value() && met;
    ASSERT_TRUE(met) << "round " << round << ": only " << here << " of 4 workers came";
  }
}

TEST(PoolStress, ResizingUnderLoadLosesNoWork) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup group(16, 0, run_one_quantum);
  std::atomic<bool> enough{false};
  std::atomic<unsigned> failed{0};
  std::atomic<std::uint64_t> played{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      PingPong ball(group);
      while (!enough && failed == 0) {
        if (!ball.once()) ++failed;
        ++played;
      }
    });
  }
  std::minstd_rand random(7);
  for (unsigned i = 0; i < 300; ++i) {
    PoolOptions options;
    options.threads = 1 + static_cast<unsigned>(random() % 8);
    ASSERT_TRUE(Pool::configure(options).ok());
    const std::uint64_t seen = played;
    while (played < seen + 20 && failed == 0) std::this_thread::yield();
  }
  enough = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failed, 0U);
  EXPECT_TRUE(resize_pool(2)) << testing::worker_threads() << " workers instead of 2";
}

TEST(PoolStress, EachWorkEndsExactlyOnceWhileOthersStopIt) {
  ASSERT_TRUE(resize_pool(3));
  for (unsigned round = 0; round < 60; ++round) {
    TestGroup batch(16, 0, run_one_quantum);
    TestGroup limited(4, 1, run_one_quantum);
    TestSink sink;
    Works first(200, batch, sink, 3);
    Works second(200, limited, sink, 2);
    std::atomic<unsigned> taken_back{0};
    const auto stop_some = [&taken_back](Works& works, unsigned seed) {
      std::minstd_rand random(seed);
      for (unsigned i = 0; i < 300; ++i) {
        TestWork& work = works[random() % works.size()];
        if (i % 3 == 0) {
          work.request_stop();
        } else if (work.try_stop_queued()) {
          ++taken_back;
        }
      }
    };
    std::thread one([&] {
      ASSERT_TRUE(first.submit_all());
      stop_some(second, 2 * round + 1);
    });
    std::thread two([&] {
      ASSERT_TRUE(second.submit_all());
      stop_some(first, 2 * round + 2);
    });
    one.join();
    two.join();
    ASSERT_TRUE(sink.wait_for(400));
    const auto ended = sink.ended();
    EXPECT_EQ(ended.size(), 400U);
    std::size_t stopped = 0;
    for (Works* works : {&first, &second}) {
      for (const TestWork& work : *works) {
        EXPECT_TRUE(work.ended());
        stopped += work.outcome == Outcome::kStopped ? 1 : 0;
        EXPECT_TRUE(work.outcome == Outcome::kStopped || work.quanta_left == 0) << "a value before its time";
      }
    }
    EXPECT_GE(stopped, taken_back);
  }
}

TEST(PoolStress, TheFirstSubmitsOfManyThreadsAndStatisticsGoTogether) {
  ASSERT_TRUE(resize_pool(2));
  std::atomic<bool> enough{false};
  std::thread reader([&] {
    while (!enough) {
      const PoolStats stats = Pool::instance()->stats();
      ASSERT_LE(stats.sleeping, 2U);
    }
  });
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([] {
      for (unsigned i = 0; i < 2000; ++i) ASSERT_EQ(spawn([i](StopToken) { return i; }).get().value(), i);
    });
  }
  for (auto& thread : threads) thread.join();
  enough = true;
  reader.join();
}

}  // namespace
}  // namespace offloop::runtime
