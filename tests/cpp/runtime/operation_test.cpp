#include "offloop/runtime/operation.h"

#include <gtest/gtest.h>

#include <atomic>
#include <coroutine>
#include <stdexcept>
#include <thread>
#include <vector>

namespace offloop {
namespace {

TEST(Operation, GetReturnsTheValueOfTheTask) {
  auto op = spawn([](StopToken) { return 42; });
  EXPECT_EQ(op.get().value(), 42);
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

TEST(Operation, ThenIsCalledOnceWhetherItEndedBeforeOrAfter) {
  std::atomic<int> calls{0};
  auto early = spawn([](StopToken) { return 1; });
  early.then([&](Result<int>& r) noexcept { calls += r.value(); calls.notify_all(); });
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
