// A fork with the pool at work: the child has none of the threads and every lock and list as they were in that moment.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "offloop/runtime/fork.h"
#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"
#include "support/child.h"
#include "support/counters_listener.h"
#include "support/gate.h"
#include "support/sanitizer_options.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

using testing::fork_child;
using testing::Gate;
using testing::resize_pool;
using testing::run_in_child;
using testing::run_one_quantum;
using testing::TestGroup;
using testing::TestSink;
using testing::TestWork;
using testing::Works;

class PoolFork : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    // Its runtime takes a child's thread for the parent's one that had the same address, and dies ("dup thread").
    GTEST_SKIP() << "ThreadSanitizer cannot follow threads that are started in a forked child";
#elif defined(__SANITIZE_ADDRESS__)
    // Its allocator's locks stay locked in a child when another thread of the parent held one (GCC 12's): a worker that
    // was just freeing a task. Where there is none these tests run all the same.
    GTEST_SKIP() << "AddressSanitizer's allocator does not survive a fork while other threads allocate";
#endif
  }
};

int spawn_some(int n) {
  for (int i = 0; i < n; ++i)
    if (auto result = spawn([i](StopToken) { return i; }).get(); !result.ok() || result.value() != i) return 2;
  return 0;
}

// A child that was moved to one CPU (a worker of a server that binds its processes) has one worker, whatever its parent
// had.
TEST_F(PoolFork, TheChildCountsItsCpusItself) {
  ::unsetenv("OFFLOOP_THREADS");
  EXPECT_EQ(run_in_child([] {  // its size has not been set
              const unsigned before = Pool::options().threads;
              if (before != default_threads()) return 1;
              return run_in_child([] {
                       cpu_set_t all, one;
                       if (::sched_getaffinity(0, sizeof all, &all) != 0) return 5;
                       unsigned cpu = 0;
                       while (!CPU_ISSET(cpu, &all)) ++cpu;
                       CPU_ZERO(&one);
                       CPU_SET(cpu, &one);
                       if (::sched_setaffinity(0, sizeof one, &one) != 0) return 2;
                       return Pool::options().threads == 1 ? 0 : 3;
                     }) == "exit 0"
                         ? 0
                         : 4;
            }),
            "exit 0");
}

TEST_F(PoolFork, TheChildsFirstSubmitMakesAPoolOfItsOwn) {
  ASSERT_TRUE(resize_pool(2));
  const std::uint32_t generation = fork_generation();
  Pool* const mine = Pool::instance();
  EXPECT_EQ(run_in_child([&] {
              if (fork_generation() != generation + 1) return 1;
              if (Pool::instance_if_started() != nullptr || testing::worker_threads() != 0) return 3;
              if (const int wrong = spawn_some(100)) return wrong;
              return Pool::instance() != mine && Pool::instance()->stats().done == 100 ? 0 : 4;
            }),
            "exit 0");
  EXPECT_EQ(fork_generation(), generation);
  EXPECT_EQ(Pool::instance(), mine);
  EXPECT_EQ(spawn_some(100), 0);
}

// The group is the same object in both processes: its queue, its place in the ring and its counts are the parent's.
TEST_F(PoolFork, TheChildRunsItsOwnWorksOfAGroupThatIsFullOfTheParents) {
  ASSERT_TRUE(resize_pool(1));
  Gate running, go;
  std::atomic<unsigned> foreign_runs{0};
  bool child = false;
  TestGroup group(2, 1, [&](Quantum& q) {
    running.open();
    go.wait();
    for (unsigned i = q.count; i-- > 0;)
      if (child && static_cast<TestWork&>(*q.works[i]).id < 1000) ++foreign_runs;
    run_one_quantum(q);
  });
  TestSink sink;
  Works works(100, group, sink, 2);
  ASSERT_TRUE(works.submit_all());
  running.wait();  // two are in the hands of the worker, the group is at its limit, the others wait
  EXPECT_EQ(run_in_child([&] {
              child = true;
              go.open();
              TestSink own_sink;
              Works own(20, group, own_sink);
              for (TestWork& work : own) work.id += 1000;
              if (!own.submit_all() || !own_sink.wait_for(own.size())) return 1;
              if (foreign_runs != 0) return 2;
              return Pool::instance()->stats().done == own.size() ? 0 : 3;
            }),
            "exit 0");
  go.open();
  ASSERT_TRUE(sink.wait_for(works.size()));
  for (const TestWork& work : works) EXPECT_EQ(work.runs, 2U);
}

TEST_F(PoolFork, ThePlainGroupWorksInAChildForkedWhileAllWorkersAreBusy) {
  ASSERT_TRUE(resize_pool(2));
  Gate go;
  std::vector<Operation<Unit>> busy;
  for (int i = 0; i < 10; ++i) busy.push_back(spawn([&](StopToken) { go.wait(); }));
  EXPECT_EQ(run_in_child([] { return spawn_some(50); }), "exit 0");
  go.open();
  for (auto& operation : busy) EXPECT_TRUE(operation.get().ok());
}

TEST_F(PoolFork, TheFirstSubmitsOfSeveralThreadsOfTheChildMeetInOnePool) {
  ASSERT_TRUE(resize_pool(2));
  ASSERT_EQ(spawn_some(1), 0);
  for (unsigned round = 0; round < 30; ++round) {
    EXPECT_EQ(run_in_child([] {
                std::atomic<bool> go{false};
                std::atomic<int> failed{0};
                std::vector<std::thread> threads;
                for (int t = 0; t < 4; ++t) {
                  threads.emplace_back([&] {
                    while (!go) std::this_thread::yield();
                    failed += spawn_some(5);
                  });
                }
                go = true;
                for (auto& thread : threads) thread.join();
                if (failed != 0) return 1;
                return Pool::instance()->stats().done == 20 ? 0 : 5;
              }),
              "exit 0");
  }
}

TEST_F(PoolFork, GrandchildrenWorkToo) {
  ASSERT_TRUE(resize_pool(2));
  ASSERT_EQ(spawn_some(3), 0);
  EXPECT_EQ(run_in_child([] {
              if (const int wrong = spawn_some(3)) return wrong;
              const std::string end = run_in_child([] { return spawn_some(3); });
              return end == "exit 0" ? spawn_some(3) : 6;
            }),
            "exit 0");
}

TEST_F(PoolFork, AStormOfForksUnderLoadLosesNothingOnEitherSide) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup group(16, 0, run_one_quantum);
  std::atomic<bool> enough{false};
  std::atomic<unsigned> failed{0};
  std::vector<std::thread> submitters;
  for (unsigned t = 0; t < 2; ++t) {
    submitters.emplace_back([&] {
      while (!enough) {
        TestSink sink;
        Works works(20, group, sink, 2);
        if (!works.submit_all() || !sink.wait_for(works.size()) || spawn_some(5) != 0) ++failed;
      }
    });
  }
  for (unsigned i = 0; i < 40; ++i) {
    std::vector<testing::Child> children;
    for (unsigned k = 0; k < 2; ++k) {
      children.push_back(fork_child([&] {
        TestSink sink;
        Works works(20, group, sink, 2);
        if (!works.submit_all() || !sink.wait_for(works.size())) return 1;
        return spawn_some(5);
      }));
    }
    for (const testing::Child& child : children) EXPECT_EQ(child.wait(), "exit 0") << "fork " << i;
  }
  enough = true;
  for (auto& submitter : submitters) submitter.join();
  EXPECT_EQ(failed, 0U);
}

TEST_F(PoolFork, AChildThatLeavesThroughExitDoesNotWaitForTheParentsWorkers) {
  ASSERT_TRUE(resize_pool(2));
  Gate go;
  auto busy = spawn([&](StopToken) { go.wait(); });
  EXPECT_EQ(run_in_child([]() -> int { std::exit(0); }), "exit 0");
  EXPECT_EQ(run_in_child([]() -> int { std::exit(spawn_some(3)); }), "exit 0");
  go.open();
  EXPECT_TRUE(busy.get().ok());
}

}  // namespace
}  // namespace offloop::runtime
