#include "offloop/runtime/pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "offloop/runtime/clock.h"
#include "offloop/runtime/operation.h"
#include "support/counters_listener.h"
#include "support/gate.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

using testing::Blocker;
using testing::Gate;
using testing::resize_pool;
using testing::run_one_quantum;
using testing::TestGroup;
using testing::TestSink;
using testing::TestWork;
using testing::Works;

TEST(Pool, ABatchGroupRunsUpToItsLanesSideBySideQuantumByQuantum) {
  ASSERT_TRUE(resize_pool(1));
  unsigned widest = 0;
  TestGroup group(16, 0, [&](Quantum& q) {
    widest = std::max(widest, q.count);
    run_one_quantum(q);
  });
  TestSink sink;
  Works works(40, group, sink, 3);
  {
    const Blocker blocker;
    ASSERT_TRUE(works.submit_all());
  }
  ASSERT_TRUE(sink.wait_for(works.size()));
  EXPECT_EQ(widest, 16U);
  for (const TestWork& work : works) {
    EXPECT_EQ(work.runs, 3U);
    EXPECT_EQ(work.outcome, Outcome::kValue);
    EXPECT_TRUE(work.ended());
    EXPECT_FALSE(const_cast<TestWork&>(work).try_stop_queued());
  }
}

TEST(Pool, TwoLongWorksAreTwoWorkersWork) {
  ASSERT_TRUE(resize_pool(2));
  std::atomic<unsigned> together{0};  // quanta that had both
  std::atomic<unsigned> workers{0};   // as bits
  TestGroup group(16, 0, [&](Quantum& q) {
    workers.fetch_or(1U << q.worker_index());
    if (q.count == 2) together.fetch_add(1);
    ::sched_yield();
    // As long as both are with one worker they do not get on: a hang here is a worker that was never woken.
    if (q.count == 1 && workers.load() == 3) run_one_quantum(q);
  });
  TestSink sink;
  Works works(2, group, sink, 50);
  for (TestWork& work : works) {
    work.cost_ns = 10'000'000;
    work.next = nullptr;
    ASSERT_TRUE(Pool::instance()->submit(&work));
  }
  EXPECT_TRUE(sink.wait_for(2)) << together << " quanta with both";
  EXPECT_EQ(workers, 3U);
}

TEST(Pool, ALoneWorkGoesOnUntilAnotherWaitsOrItIsStopped) {
  ASSERT_TRUE(resize_pool(1));
  Gate first;
  Gate second;
  std::vector<unsigned> order;  // the ids as they were run; one worker
  TestGroup group(1, 0, [&](Quantum& q) {
    do {
      order.push_back(static_cast<TestWork*>(q.works[0])->id);
      if (order.size() == 3) first.open(), second.wait();
    } while (q.goes_on());
  });
  TestSink sink;
  Works works(1, group, sink);
  Works other(1, group, sink);
  other[0].id = 9;
  const std::uint64_t before = Pool::instance()->stats().quanta;
  ASSERT_TRUE(works.submit_all());
  first.wait();
  EXPECT_EQ(Pool::instance()->stats().quanta - before, 1U);  // three turns were one quantum
  ASSERT_TRUE(other.submit_all());
  works[0].request_stop();
  other[0].request_stop();
  second.open();
  ASSERT_TRUE(sink.wait_for(2));
  EXPECT_EQ(order, (std::vector<unsigned>{0, 0, 0}));
  for (TestWork* work : sink.ended()) EXPECT_EQ(work->outcome, Outcome::kStopped);
}

TEST(Pool, WorksOfABurstReachTheirSinkAsChainsInOrder) {
  ASSERT_TRUE(resize_pool(1));
  TestGroup group(16, 0, [](Quantum& q) {
    while (q.count != 0) q.end(0, Outcome::kValue);
  });
  TestSink sink;
  Works works(32, group, sink);
  {
    const Blocker blocker;
    ASSERT_TRUE(works.submit_all());
  }
  ASSERT_TRUE(sink.wait_for(works.size()));
  EXPECT_EQ(sink.calls(), 2U);
}

TEST(Pool, WorksOfOneLaneEndInTheOrderOfSubmission) {
  ASSERT_TRUE(resize_pool(1));
  TestGroup group(1, 0, run_one_quantum);
  TestSink sink;
  Works chain(5, group, sink);
  Works single(5, group, sink);
  {
    const Blocker blocker;
    ASSERT_TRUE(chain.submit_all());
    for (TestWork& work : single) ASSERT_TRUE(Pool::instance()->submit(&work));
  }
  ASSERT_TRUE(sink.wait_for(10));
  std::vector<TestWork*> expected;
  for (TestWork& work : chain) expected.push_back(&work);
  for (TestWork& work : single) expected.push_back(&work);
  EXPECT_EQ(sink.ended(), expected);
}

TEST(Pool, NoMoreThanMaxWorkersRunAGroupAtOnce) {
  ASSERT_TRUE(resize_pool(4));
  std::atomic<unsigned> inside{0};
  std::atomic<unsigned> most{0};
  Gate two_at_once;
  TestGroup group(1, 2, [&](Quantum& q) {
    const unsigned now = ++inside;
    if (unsigned seen = most; now > seen) most.compare_exchange_strong(seen, now);
    if (now == 2) two_at_once.open();
    two_at_once.wait();  // the limit is reached, not only kept
    std::this_thread::yield();
    --inside;
    run_one_quantum(q);
  });
  group.prompt = false;
  TestSink sink;
  Works works(300, group, sink, 2);
  ASSERT_TRUE(works.submit_all());
  // Two workers are left for others meanwhile.
  EXPECT_EQ(spawn([](StopToken) { return 1; }).get().value(), 1);
  ASSERT_TRUE(sink.wait_for(works.size()));
  EXPECT_EQ(most, 2U);
}

TEST(Pool, AGroupAtItsLimitStillRefillsItsLanes) {
  ASSERT_TRUE(resize_pool(1));
  unsigned quanta = 0;
  TestGroup group(4, 1, [&](Quantum& q) {
    ++quanta;
    do {
      while (q.count != 0) q.end(0, Outcome::kValue);
    } while (q.refill() != 0);
  });
  TestSink sink;
  Works works(40, group, sink);
  {
    const Blocker blocker;
    ASSERT_TRUE(works.submit_all());
  }
  ASSERT_TRUE(sink.wait_for(works.size()));
  EXPECT_EQ(quanta, 1U);
}

TEST(Pool, RefillLetsALateWorkJoinTheRunningBatch) {
  ASSERT_TRUE(resize_pool(1));
  Gate running, go;
  unsigned quanta = 0;
  unsigned came = 0;
  TestGroup group(8, 0, [&](Quantum& q) {
    ++quanta;
    running.open();
    go.wait();
    q.end(0, Outcome::kValue);
    q.flush();
    came = q.refill();
    while (q.count != 0) q.end(0, Outcome::kValue);
  });
  TestSink sink;
  Works first(1, group, sink);
  Works late(3, group, sink);
  ASSERT_TRUE(first.submit_all());
  running.wait();
  ASSERT_TRUE(late.submit_all());
  go.open();
  ASSERT_TRUE(sink.wait_for(4));
  EXPECT_EQ(came, 3U);
  EXPECT_EQ(quanta, 1U);
}

TEST(Pool, AShortWorkBehindAHundredLongOnesGetsThroughWithinOneRound) {
  ASSERT_TRUE(resize_pool(1));
  constexpr unsigned kLong = 100;
  constexpr unsigned kLanes = 16;
  TestSink sink;
  unsigned batch = 0;
  unsigned submitted_in = 0;
  unsigned ended_in = 0;
  TestWork late;
  TestGroup group(kLanes, 0, [&](Quantum& q) {
    if (++batch == 20) {
      submitted_in = batch;
      ASSERT_TRUE(Pool::instance()->submit(&late));
    }
    for (unsigned i = 0; i < q.count; ++i)
      if (q.works[i] == &late) ended_in = batch;
    run_one_quantum(q);
  });
  late.group = &group;
  late.sink = &sink;
  Works works(kLong, group, sink, 50);
  {
    const Blocker blocker;
    ASSERT_TRUE(works.submit_all());
  }
  ASSERT_TRUE(sink.wait_for(kLong + 1));
  EXPECT_LE(ended_in - submitted_in, (kLong + kLanes - 1) / kLanes + 1) << "batches between submission and end";
}

TEST(Pool, GroupsTakeTurns) {
  ASSERT_TRUE(resize_pool(1));
  std::string turns;
  TestGroup a(1, 0, [&](Quantum& q) {
    turns += 'a';
    run_one_quantum(q);
  });
  TestGroup b(1, 0, [&](Quantum& q) {
    turns += 'b';
    run_one_quantum(q);
  });
  TestSink sink;
  Works many(8, a, sink);
  Works few(2, b, sink, 2);
  {
    const Blocker blocker;
    ASSERT_TRUE(many.submit_all());
    ASSERT_TRUE(few.submit_all());
  }
  ASSERT_TRUE(sink.wait_for(10));
  EXPECT_EQ(turns, "ababababaaaa");
}

// One worker, a row of tasks of 20 ms and a stream that needs 20 quanta of next to nothing. Turn about, each quantum
// would cost the stream a whole task.
TEST(Pool, StreamsBehindARowOfLongTasksGetAsMuchTimeAsTheTasks) {
  ASSERT_TRUE(resize_pool(1));
  TestGroup group(1, 0, run_one_quantum);
  TestSink sink;
  Works stream(1, group, sink, 20);
  std::atomic<unsigned> tasks_ended{0};
  std::vector<Operation<Unit>> tasks;
  {
    const Blocker blocker;
    for (int i = 0; i < 100; ++i) {
      tasks.push_back(spawn([&](StopToken) {
        const std::int64_t until = now_ns() + 20'000'000;
        while (now_ns() < until && !stream[0].ended()) std::this_thread::yield();
        if (!stream[0].ended()) ++tasks_ended;
      }));
    }
    ASSERT_TRUE(stream.submit_all());
  }
  ASSERT_TRUE(sink.wait_for(1));
  EXPECT_LT(tasks_ended, 10U);
  for (auto& task : tasks) EXPECT_TRUE(task.get().ok());
}

// The other way round: prompt work that never ends does not keep long tasks out.
TEST(Pool, ALongTaskBehindEndlessStreamsGetsItsTurn) {
  ASSERT_TRUE(resize_pool(1));
  std::atomic<bool> enough{false};
  TestGroup group(4, 0, [&](Quantum& q) {
    while (enough && q.count != 0) q.end(0, Outcome::kValue);
  });
  TestSink sink;
  Works streams(8, group, sink);
  ASSERT_TRUE(streams.submit_all());
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(spawn([](StopToken) {
                  const std::int64_t until = now_ns() + 1'000'000;
                  while (now_ns() < until) std::this_thread::yield();
                })
                    .get()
                    .ok());
  }
  enough = true;
  ASSERT_TRUE(sink.wait_for(streams.size()));
}

// Each of the long tasks ends only when a short one, submitted after it, has run: somebody else must have taken that.
TEST(Pool, LongTasksLeaveNobodyElseWaitingWhileAWorkerIsFree) {
  for (unsigned threads = 2; threads <= 8; ++threads) {
    ASSERT_TRUE(resize_pool(threads));
    TestGroup quick(16, 0, run_one_quantum);
    TestSink sink;
    for (unsigned round = 0; round < 100; ++round) {
      Gate done;
      std::vector<Operation<Unit>> blocked;
      for (unsigned i = 0; i + 1 < threads; ++i) blocked.push_back(spawn([&](StopToken) { done.wait(); }));
      Works works(3, quick, sink);
      for (TestWork& work : works) work.cost_ns = 0;
      ASSERT_TRUE(works.submit_all());
      ASSERT_TRUE(sink.wait_for((round + 1) * works.size())) << threads << " threads, round " << round;
      EXPECT_EQ(spawn([](StopToken) { return 5; }).get().value(), 5);
      done.open();
      for (auto& operation : blocked) (void)operation.get();
    }
  }
}

// The moment in which a submitter still counts on a worker that is about to turn to a long task, held open:
// lanes_to_take() is asked while the worker takes it.
TEST(Pool, AWorkSubmittedWhileTheOnlyAwakeWorkerTurnsToALongTaskWakesAnother) {
  ASSERT_TRUE(resize_pool(2));
  struct LongGroup final : Group {
    LongGroup() : Group("long", 1) { prompt = false; }
    ~LongGroup() { Pool::forget(*this); }
    void run(Quantum& q) noexcept override {
      go.wait();
      q.end(0, Outcome::kValue);
    }
    unsigned lanes_to_take(unsigned, unsigned) const noexcept override {
      taking.open();
      submitted.wait();
      return 1;
    }
    mutable Gate taking, submitted;
    Gate go;
  };
  while (Pool::instance()->stats().sleeping != 2) std::this_thread::yield();
  LongGroup slow;
  TestGroup quick(1, 0, run_one_quantum);
  TestSink slow_sink, quick_sink;
  Works task(1, slow, slow_sink);
  Works works(1, quick, quick_sink);
  ASSERT_TRUE(task.submit_all());
  slow.taking.wait();
  ASSERT_TRUE(works.submit_all());
  slow.submitted.open();
  EXPECT_TRUE(quick_sink.wait_for(1));
  slow.go.open();
  ASSERT_TRUE(slow_sink.wait_for(1));
  ASSERT_TRUE(quick_sink.wait_for(1));
}

TEST(Pool, TheStatisticsAddUp) {
  ASSERT_TRUE(resize_pool(2));
  TestGroup group(4, 0, [](Quantum& q) {
    Pool::report_bytes(10 * q.count);
    for (unsigned i = q.count; i-- > 0;)
      q.end(i, static_cast<TestWork&>(*q.works[i]).id % 10 == 0 ? Outcome::kError : Outcome::kValue);
  });
  TestSink sink;
  Works works(100, group, sink);
  PoolStats before;
  std::uint64_t stopped = 0;
  {
    const Blocker one;
    const Blocker two;
    before = Pool::instance()->stats();
    EXPECT_EQ(before.running, 2U);
    EXPECT_EQ(before.threads, 2U);
    ASSERT_TRUE(works.submit_all());
    EXPECT_EQ(Pool::instance()->stats().queued, before.queued + 100);
    for (unsigned i = 5; i < 100; i += 10) stopped += works[i].try_stop_queued() ? 1 : 0;
  }
  ASSERT_TRUE(sink.wait_for(works.size()));
  ASSERT_TRUE(resize_pool(1));  // one worker has left, the other gives back what it held before it looks again
  (void)spawn([](StopToken) {}).get();
  const PoolStats after = Pool::instance()->stats();
  EXPECT_EQ(stopped, 10U);
  EXPECT_EQ(after.stopped - before.stopped, 10U);
  EXPECT_EQ(after.failed - before.failed, 10U);
  EXPECT_EQ(after.done - before.done, 80U + 3U) << "80 works, two blockers and the last task";
  EXPECT_EQ(after.bytes - before.bytes, 900U);
  EXPECT_EQ(after.lanes - before.lanes, 91U);
  EXPECT_GE(after.quanta - before.quanta, 91U / 4);
  EXPECT_EQ(after.queued, 0U);
  std::uint64_t waited = 0;
  std::uint64_t ran = 0;
  for (unsigned i = 0; i < Histogram::kBuckets; ++i) {
    waited += after.queue_ns[i] - before.queue_ns[i];
    ran += after.run_ns[i] - before.run_ns[i];
  }
  EXPECT_EQ(waited, 91U) << "what was stopped never started";
  EXPECT_EQ(ran, 90U + 3U);
}

TEST(Pool, SignalsAreForTheProgramsThreadsExceptFaults) {
  ASSERT_TRUE(resize_pool(2));
  sigset_t blocked;
  (void)spawn([&](StopToken) { pthread_sigmask(SIG_BLOCK, nullptr, &blocked); }).get();
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGHUP, SIGUSR1, SIGPIPE})
    EXPECT_TRUE(sigismember(&blocked, signal)) << signal;
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_FALSE(sigismember(&blocked, fault)) << fault;
}

TEST(Pool, TooManyThreadsAreRefused) {
  PoolOptions options;
  options.threads = 1025;
  const Result<Unit> result = Pool::configure(options);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(result.error().message.find("1025"), std::string::npos);
}

TEST(Pool, AGroupMayBeDestroyedOnceItIsForgotten) {
  ASSERT_TRUE(resize_pool(2));
  for (unsigned round = 0; round < 3000; ++round) {
    TestGroup group(4, 0, [](Quantum& q) {
      while (q.count != 0) q.end(0, Outcome::kValue);
      q.flush();   // the test may go on from here,
      q.refill();  // while this worker still uses the group
    });
    TestSink sink;
    Works works(6, group, sink);
    ASSERT_TRUE(works.submit_all());
    ASSERT_TRUE(sink.wait_for(works.size()));
  }  // ~TestGroup() forgets it
}

}  // namespace
}  // namespace offloop::runtime
