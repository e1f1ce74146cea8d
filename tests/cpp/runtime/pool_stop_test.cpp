// Works that are taken back, asked to stop, or let go of.
#include <gtest/gtest.h>

#include <atomic>
#include <iterator>

#include "offloop/runtime/pool.h"
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

TEST(PoolStop, AWorkStoppedWhileQueuedNeverRunsAndReachesItsSinkAsStopped) {
  ASSERT_TRUE(resize_pool(1));
  TestGroup group(4, 0, run_one_quantum);
  TestSink sink;
  Works works(50, group, sink);
  {
    const Blocker blocker;
    ASSERT_TRUE(works.submit_all());
    for (TestWork& work : works) {
      if (work.id % 2 == 0) continue;
      EXPECT_TRUE(work.try_stop_queued());
      EXPECT_FALSE(work.try_stop_queued()) << "twice";
    }
  }
  ASSERT_TRUE(sink.wait_for(works.size()));
  for (const TestWork& work : works) {
    EXPECT_EQ(work.runs, work.id % 2 == 1 ? 0U : 1U);
    EXPECT_EQ(work.outcome, work.id % 2 == 1 ? Outcome::kStopped : Outcome::kValue);
  }
}

TEST(PoolStop, AStopRequestEndsAQueuedWorkBeforeItRuns) {
  ASSERT_TRUE(resize_pool(1));
  TestGroup group(1, 0, run_one_quantum);
  TestSink sink;
  Works works(1, group, sink);
  {
    const Blocker blocker;
    ASSERT_TRUE(works.submit_all());
    works[0].request_stop();
  }
  ASSERT_TRUE(sink.wait_for(1));
  EXPECT_EQ(works[0].runs, 0U);
  EXPECT_EQ(works[0].outcome, Outcome::kStopped);
}

TEST(PoolStop, AStopRequestEndsARunningWorkAtTheEndOfItsQuantum) {
  ASSERT_TRUE(resize_pool(1));
  TestGroup group(1, 0, [](Quantum& q) {
    auto& work = static_cast<TestWork&>(*q.works[0]);
    if (++work.runs == 3) work.request_stop();
  });
  TestSink sink;
  Works works(1, group, sink);
  ASSERT_TRUE(works.submit_all());
  ASSERT_TRUE(sink.wait_for(1));
  EXPECT_EQ(works[0].runs, 3U);
  EXPECT_EQ(works[0].outcome, Outcome::kStopped);
}

TEST(PoolStop, ARunningWorkCannotBeTakenBack) {
  ASSERT_TRUE(resize_pool(1));
  Gate running, go;
  TestGroup group(1, 0, [&](Quantum& q) {
    running.open();
    go.wait();
    run_one_quantum(q);
  });
  TestSink sink;
  Works works(1, group, sink);
  ASSERT_TRUE(works.submit_all());
  running.wait();
  EXPECT_FALSE(works[0].try_stop_queued());
  go.open();
  ASSERT_TRUE(sink.wait_for(1));
  EXPECT_EQ(works[0].outcome, Outcome::kValue);
}

TEST(PoolStop, AReleasedWorkIsItsOwnersUntilItIsSubmittedAgain) {
  ASSERT_TRUE(resize_pool(2));
  constexpr unsigned kPieces = 2000;
  struct Stream : TestWork {
    std::atomic<unsigned> pieces{0};  ///< brought and not yet consumed
    unsigned consumed = 0;
  };
  TestGroup group(4, 0, [](Quantum& q) {
    for (unsigned i = q.count; i-- > 0;) {
      auto& stream = static_cast<Stream&>(*q.works[i]);
      ++stream.runs;
      if (++stream.consumed == kPieces) {
        q.end(i, Outcome::kValue);
      } else if (stream.pieces.fetch_sub(1) == 1) {
        q.release(i);  // whoever brings the next piece submits it
      }
    }
  });
  TestSink sink;
  Stream streams[8];
  for (Stream& stream : streams) {
    stream.group = &group;
    stream.sink = &sink;
  }
  for (unsigned piece = 0; piece < kPieces; ++piece) {
    for (Stream& stream : streams) {
      if (stream.pieces.fetch_add(1) != 0) continue;
      ASSERT_TRUE(Pool::instance()->submit(&stream));
    }
  }
  ASSERT_TRUE(sink.wait_for(std::size(streams)));
  for (const Stream& stream : streams) {
    EXPECT_EQ(stream.consumed, kPieces);
    EXPECT_EQ(stream.runs, kPieces);
  }
}

}  // namespace
}  // namespace offloop::runtime
