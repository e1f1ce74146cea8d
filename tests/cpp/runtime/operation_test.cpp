#include "offloop/runtime/operation.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <coroutine>
#include <future>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "offloop/runtime/clock.h"
#include "support/counters_listener.h"
#include "support/gate.h"
#include "support/test_pool.h"

namespace offloop {
namespace {

TEST(Operation, GetReturnsTheValueOfTheTask) {
  auto op = spawn([](StopToken) { return 42; });
  EXPECT_EQ(op.get().value(), 42);
}

TEST(Operation, SaysWhenItRanAndWhere) {
  const std::int64_t before = runtime::now_ns();
  auto op = spawn([](StopToken) { return runtime::now_ns(); });
  const std::int64_t in_it = op.get().value();
  const runtime::Work* work = op.work();
  ASSERT_NE(work, nullptr);
  EXPECT_LE(before, work->submitted_ns);
  EXPECT_LE(work->submitted_ns, work->started_ns);
  EXPECT_LE(work->started_ns, in_it);
  EXPECT_LE(in_it, work->ended_ns);
  EXPECT_NE(work->worker, 0);
}

TEST(Operation, AnExceptionOfTheTaskBecomesAnError) {
  auto op = spawn([](StopToken) -> int { throw std::runtime_error("no such luck"); });
  const Result<int> result = op.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kInternal);
  EXPECT_EQ(result.error().message, "no such luck");
}

TEST(Operation, BadAllocIsOutOfMemory) {
  auto op = spawn([](StopToken) -> int { throw std::bad_alloc(); });
  EXPECT_EQ(op.get().error().code, ErrorCode::kOutOfMemory);
}

TEST(Operation, ASystemErrorKeepsItsErrno) {
  const Result<int> full =
      spawn([](StopToken) -> int { throw std::system_error(ENOSPC, std::generic_category(), "writing"); }).get();
  EXPECT_EQ(full.error().code, ErrorCode::kIo);
  EXPECT_EQ(full.error().system, ENOSPC);
  EXPECT_EQ(full.error().message.substr(0, 7), "writing");
  // The code of another category is no errno.
  const Result<int> broken =
      spawn([](StopToken) -> int { throw std::system_error(std::make_error_code(std::future_errc::no_state)); }).get();
  EXPECT_EQ(broken.error().code, ErrorCode::kInternal);
}

TEST(Operation, WhatIsThrownNeedNotBeAnException) {
  const Result<int> result = spawn([](StopToken) -> int { throw 42; }).get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kInternal);
}

TEST(Operation, AnErrorTheTaskReturnsIsTheResult) {
  auto op = spawn([](StopToken) -> Result<int> { return Error(ErrorCode::kIo, "no", "/file", 2); });
  const Result<int> result = op.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kIo);
  EXPECT_EQ(result.error().context, "/file");
}

TEST(Operation, AMoveOnlyValueIsMovedOut) {
  auto op = spawn([](StopToken) { return std::make_unique<int>(9); });
  EXPECT_EQ(*op.get().value(), 9);
}

TEST(Operation, ATaskMayOwnWhatCannotBeCopied) {
  auto input = std::make_unique<int>(3);
  EXPECT_EQ(spawn([in = std::move(input)](StopToken) { return *in + 1; }).get().value(), 4);
}

TEST(Operation, DroppingTheHandleNeitherStopsNorWaits) {
  testing::Gate go, ran;
  {
    auto dropped = spawn([&](StopToken) {
      go.wait();
      ran.open();
    });
  }
  go.open();
  ran.wait();
}

TEST(Operation, WaitForSaysWhetherItHasEnded) {
  testing::Gate go;
  auto op = spawn([&](StopToken) { go.wait(); });
  EXPECT_FALSE(op.wait_for(0));
  EXPECT_FALSE(op.wait_for(-1));
  EXPECT_FALSE(op.wait_for(1'000'000));
  EXPECT_FALSE(op.done());
  go.open();
  EXPECT_TRUE(op.wait_for(INT64_MAX));
  EXPECT_TRUE(op.done());
  EXPECT_TRUE(op.wait_for(0));
}

TEST(Operation, StoppedWhileQueuedItNeverRunsAndSaysStopped) {
  ASSERT_TRUE(testing::resize_pool(1));
  testing::Gate running, go;
  auto busy = spawn([&](StopToken) {
    running.open();
    go.wait();
  });
  running.wait();
  bool ran = false;
  auto op = spawn([&](StopToken) { ran = true; });
  op.request_stop();
  go.open();
  EXPECT_EQ(op.get().error().code, ErrorCode::kStopped);
  EXPECT_FALSE(ran);
  EXPECT_TRUE(busy.get().ok());
  ASSERT_TRUE(testing::resize_pool(2));
}

TEST(Operation, GetOnAWorkerRefusesToWaitForAnotherWorker) {
  testing::Gate go;
  auto slow = spawn([&](StopToken) {
    go.wait();
    return 1;
  });
  auto asks = spawn([&](StopToken) { return slow.get(); });
  EXPECT_EQ(asks.get().error().code, ErrorCode::kInternal);
  go.open();
  EXPECT_EQ(slow.get().value(), 1);
}

TEST(Operation, ThenRacingTheEndIsCalledExactlyOnce) {
  for (unsigned i = 0; i < 3000; ++i) {
    std::atomic<unsigned> calls{0};
    auto op = spawn([](StopToken) { return 1; });
    op.then([&](Result<int>& r) noexcept { calls += static_cast<unsigned>(r.value()); });
    while (!op.done() || calls == 0) std::this_thread::yield();
    ASSERT_EQ(calls, 1U);
  }
}

TEST(Operation, ThenIsCalledOnceWhetherItEndedBeforeOrAfter) {
  std::atomic<int> calls{0};
  auto early = spawn([](StopToken) { return 1; });
  early.then([&](Result<int>& r) noexcept {
    calls += r.value();
    calls.notify_all();
  });
  auto late = spawn([](StopToken) { return 2; });
  while (!late.done()) std::this_thread::yield();
  late.then([&](Result<int>& r) noexcept { calls += r.value(); });
  for (int seen = calls; seen != 3; seen = calls) calls.wait(seen);
  EXPECT_EQ(calls, 3);
}

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

TEST(Operation, CoAwaitYieldsTheResult) {
  std::atomic<int> answer{0};
  const auto coroutine = [](std::atomic<int>& out) -> Detached {
    auto op = spawn([](StopToken) { return 7; });
    Result<int> r = co_await op;
    out = r.value();
    out.notify_one();
  };
  coroutine(answer);
  answer.wait(0);
  EXPECT_EQ(answer, 7);
}

TEST(Operation, ARunningTaskSeesTheRequestToStop) {
  std::atomic<bool> running{false};
  auto op = spawn([&](StopToken stop) -> Result<int> {
    running = true;
    running.notify_one();
    while (!stop.stop_requested()) std::this_thread::yield();
    return Error(ErrorCode::kStopped, "stopped");
  });
  running.wait(false);
  op.request_stop();
  EXPECT_EQ(op.get().error().code, ErrorCode::kStopped);
}

TEST(Operation, ATaskSpawnedOnAWorkerRunsThereAtOnce) {
  auto op = spawn([](StopToken) {
    const auto here = std::this_thread::get_id();
    auto inner = spawn([](StopToken) { return std::this_thread::get_id(); });
    return inner.get().value() == here;
  });
  EXPECT_TRUE(op.get().value());
}

TEST(Operation, ManyOperationsFromManyThreadsAllEnd) {
  std::atomic<std::uint64_t> sum{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&sum] {
      std::vector<Operation<unsigned>> ops;
      for (unsigned i = 0; i < 1000; ++i) ops.push_back(spawn([i](StopToken) { return i; }));
      for (auto& op : ops) sum += op.get().value();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sum, 4 * 999 * 1000 / 2);
}

}  // namespace
}  // namespace offloop
