// The end of the process and of the pool. Each case is a process of its own (a "threadsafe" death test), which must end
// with status 0 and not a word on stderr. One that hangs is killed by SIGALRM and fails.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "offloop/runtime/clock.h"
#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"
#include "support/gate.h"
#include "support/sanitizer_options.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

constexpr std::int64_t kBoundNs = 250'000'000;

/// Tasks that look neither left nor right, one for each of n workers; returns when all of them run.
void occupy_for_ever(unsigned n) {
  auto* running = new std::atomic<unsigned>{0};
  for (unsigned i = 0; i < n; ++i) {
    (void)spawn([running](StopToken) {
      ++*running;
      while (true) ::usleep(1000);
    });
  }
  while (*running != n) ::sched_yield();
}

/// A program's main() with everything that can hang it bounded.
template <class F>
[[noreturn]] void as_a_program(unsigned threads, F body) {
  ::alarm(20);
  PoolOptions options;
  options.threads = threads;
  if (!Pool::configure(options).ok()) std::exit(9);
  body();
  std::exit(0);
}

class PoolExit : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

#define EXPECT_CLEAN_EXIT(threads, ...) \
  EXPECT_EXIT(as_a_program(threads, __VA_ARGS__), ::testing::ExitedWithCode(0), ::testing::Eq(std::string()))

TEST_F(PoolExit, WithAPoolThatNeverStarted) {
  EXPECT_CLEAN_EXIT(2, [] {});
}

TEST_F(PoolExit, WithIdleWorkers) {
  EXPECT_CLEAN_EXIT(4, [] { (void)spawn([](StopToken) {}).get(); });
}

TEST_F(PoolExit, WithTasksThatIgnoreTheRequestToStop) {
  EXPECT_CLEAN_EXIT(4, [] { occupy_for_ever(4); });
}

TEST_F(PoolExit, WithTasksThatSeeTheRequestToStop) {
  EXPECT_CLEAN_EXIT(2, [] {
    auto* ended = new std::atomic<unsigned>{0};
    for (int i = 0; i < 2; ++i) {
      auto running = std::make_shared<std::atomic<bool>>(false);
      (void)spawn([ended, running](StopToken stop) {
        *running = true;
        while (!stop.stop_requested()) ::sched_yield();
        ++*ended;
      });
      while (!*running) ::sched_yield();
    }
    Pool::shutdown(10'000'000'000);
    if (*ended != 2) ::_exit(3);  // shutdown waits for those who come
  });
}

TEST_F(PoolExit, WithWorkQueuedAndMoreComing) {
  EXPECT_CLEAN_EXIT(2, [] {
    auto* group = new testing::TestGroup(16, 0, testing::run_one_quantum);
    auto* sink = new testing::TestSink;
    auto* works = new testing::Works(100'000, *group, *sink, 50);
    if (!works->submit_all()) ::_exit(3);
    auto* submitted = new std::atomic<unsigned>{0};
    for (int t = 0; t < 3; ++t) {
      std::thread([submitted] {
        while (true) {
          (void)spawn([](StopToken) {});
          ++*submitted;
          if (*submitted % 64 == 0) ::usleep(100);
        }
      }).detach();
    }
    while (*submitted < 1000) ::sched_yield();
  });
}

TEST_F(PoolExit, WithAThreadThatWaitsForAnOperation) {
  EXPECT_CLEAN_EXIT(1, [] {
    occupy_for_ever(1);
    std::thread([] { (void)spawn([](StopToken) { return 1; }).get(); }).detach();
    while (Pool::instance()->stats().queued == 0) ::sched_yield();
  });
}

TEST_F(PoolExit, WhileOtherThreadsStartThePool) {
  for (int round = 0; round < 5; ++round) {
    EXPECT_CLEAN_EXIT(4, [] {
      auto* started = new std::atomic<unsigned>{0};
      for (int t = 0; t < 4; ++t) {
        std::thread([started] {
          ++*started;
          (void)spawn([](StopToken) {});
        }).detach();
      }
      while (*started == 0) ::sched_yield();
    });
  }
}

TEST_F(PoolExit, WhileThePoolIsBeingResized) {
  EXPECT_CLEAN_EXIT(2, [] {
    auto* rounds = new std::atomic<unsigned>{0};
    std::thread([rounds] {
      for (unsigned i = 0;; ++i) {
        PoolOptions options;
        options.threads = 1 + i % 8;
        (void)Pool::configure(options);
        (void)spawn([](StopToken) {});
        ++*rounds;
      }
    }).detach();
    while (*rounds < 100) ::sched_yield();
  });
}

TEST_F(PoolExit, ShutdownIsBoundedAndWhatComesLaterIsRefused) {
  EXPECT_CLEAN_EXIT(2, [] {
    occupy_for_ever(2);
    auto queued = spawn([](StopToken) { return 1; });
    Pool::shutdown(kBoundNs);
    Pool::shutdown(kBoundNs);
    auto refused = spawn([](StopToken) { return 1; }).get();
    if (refused.ok() || refused.error().code != ErrorCode::kPoolClosed) ::_exit(3);
    testing::TestGroup group(1, 0, testing::run_one_quantum);
    testing::TestSink sink;
    testing::Works works(3, group, sink);
    if (works.submit_all()) ::_exit(4);
    PoolOptions options;
    options.threads = 4;
    if (!Pool::configure(options).ok() || testing::worker_threads() != 2) ::_exit(5);
  });
}

// Whoever waits for an operation must hear of the end: also one whose group is at its limit of workers, or comes that
// late.
TEST_F(PoolExit, WhatIsQueuedAtShutdownEndsAsStopped) {
  EXPECT_CLEAN_EXIT(2, [] {
    occupy_for_ever(1);
    auto* group = new testing::TestGroup(1, 1, [](Quantum&) { ::pause(); });  // at its limit, for ever
    group->prompt = false;
    auto* group_sink = new testing::TestSink;
    auto* works = new testing::Works(10, *group, *group_sink);
    if (!works->submit_all()) ::_exit(3);
    while (Pool::instance()->stats().running != 2) ::sched_yield();
    std::vector<Operation<int>> queued;
    for (int i = 0; i < 100; ++i) queued.push_back(spawn([](StopToken) { return 1; }));
    const std::uint64_t stopped = Pool::instance()->stats().stopped;
    Pool::shutdown(kBoundNs);
    for (auto& operation : queued) {
      const Result<int> result = operation.get();
      if (result.ok() || result.error().code != ErrorCode::kStopped) ::_exit(4);
    }
    if (!group_sink->wait_for(9)) ::_exit(5);
    if (Pool::instance_if_started()->stats().stopped - stopped != 109) ::_exit(6);
    if (Pool::instance_if_started()->stats().queued != 0) ::_exit(7);
  });
}

TEST_F(PoolExit, WhatAWorkerGivesBackAfterShutdownEndsAsStopped) {
  EXPECT_CLEAN_EXIT(1, [] {
    static testing::Gate running, go;
    auto* group = new testing::TestGroup(1, 0, [](Quantum&) {  // one quantum, and more to come
      running.open();
      go.wait();
    });
    group->prompt = false;
    auto* sink = new testing::TestSink;
    auto* works = new testing::Works(1, *group, *sink, 2);
    if (!works->submit_all()) ::_exit(3);
    running.wait();
    Pool::shutdown(1'000'000);  // does not wait for it
    go.open();
    if (!sink->wait_for(1) || (*works)[0].outcome != Outcome::kStopped) ::_exit(4);
  });
}

TEST_F(PoolExit, AnOperationSubmittedWhileThePoolIsShutDownEnds) {
  for (int round = 0; round < 20; ++round) {
    EXPECT_CLEAN_EXIT(2, [] {
      std::atomic<unsigned> running{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&running] {
          for (bool first = true;; first = false) {
            const Result<int> result = spawn([](StopToken) { return 1; }).get();
            if (first) ++running;
            if (!result.ok() && result.error().code == ErrorCode::kPoolClosed) return;
          }
        });
      }
      while (running != 4) ::sched_yield();
      Pool::shutdown(10'000'000'000);
      for (auto& thread : threads) thread.join();
    });
  }
}

// A worker that falls asleep in the moment in which the pool is closed must leave, too.
TEST_F(PoolExit, IdleWorkersLeaveWheneverThePoolIsShutDown) {
  for (unsigned round = 0; round < 40; ++round) {
    EXPECT_CLEAN_EXIT(3, [round] {
      (void)spawn([](StopToken) {}).get();
      const std::int64_t until = now_ns() + round * 3'000;  // around the 50 us that one of them spins
      while (now_ns() < until) ::sched_yield();
      Pool::shutdown(60'000'000'000);  // the alarm comes before
      while (testing::worker_threads() != 0) ::sched_yield();
    });
  }
}

// Not about the end, but settings are the process's too.
TEST_F(PoolExit, PendingOperationsAreBoundedByTheNumberOfWorkersUnlessSet) {
  EXPECT_CLEAN_EXIT(3, [] {
    if (Pool::options().threads != 3 || Pool::options().max_pending != 3 * 1024) ::_exit(3);
    PoolOptions options;
    options.max_pending = 17;
    options.when_full = WhenFull::kRaise;
    if (!Pool::configure(options).ok() || Pool::options().max_pending != 17) ::_exit(4);
    if (Pool::options().when_full != WhenFull::kRaise) ::_exit(5);
    if (Pool::instance()->threads() != 3) ::_exit(6);  // 0 leaves the size alone
  });
}

TEST_F(PoolExit, APoolFirstUsedAfterShutdownStartsNoThreadAndRefuses) {
  EXPECT_CLEAN_EXIT(2, [] {
    Pool::shutdown(kBoundNs);
    auto refused = spawn([](StopToken) { return 1; }).get();
    if (refused.ok() || refused.error().code != ErrorCode::kPoolClosed) ::_exit(3);
    if (testing::worker_threads() != 0) ::_exit(4);
  });
}

}  // namespace
}  // namespace offloop::runtime
