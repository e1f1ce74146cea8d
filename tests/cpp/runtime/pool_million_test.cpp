// A million submits by 64 threads: each ends once, the counts add up, memory stays flat. The core's own submits have no
// limit (max_pending and when_full are kept where operations are parked, by the binding): each thread here bounds
// itself, as a loop does.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"
#include "offloop/runtime/port.h"
#include "support/counters_listener.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

// Under a sanitizer, or an emulator of this CPU, it takes twenty times as long and the memory is mostly theirs.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(__aarch64__)
constexpr bool kBorrowed = true;
constexpr unsigned kSubmits = 50'000;
#else
constexpr bool kBorrowed = false;
constexpr unsigned kSubmits = 1'000'000;
#endif
constexpr unsigned kProducers = 64;
constexpr unsigned kWindow = 64;

long resident_bytes() {
  long pages = 0;
  long resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file != nullptr) {
    if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// All producers together: so many operations, a window of each producer's in flight; every eighth is asked to stop.
void produce(unsigned submits, std::atomic<unsigned>& values, std::atomic<unsigned>& stopped) {
  std::vector<std::thread> producers;
  for (unsigned p = 0; p < kProducers; ++p) {
    producers.emplace_back([&values, &stopped, each = submits / kProducers] {
      std::vector<Operation<unsigned>> window;
      window.reserve(kWindow);
      for (unsigned i = 0; i < each;) {
        for (; window.size() < kWindow && i < each; ++i) {
          window.push_back(spawn([i](StopToken) { return i; }));
          if (i % 8 == 0) window.back().request_stop();
        }
        for (auto& operation : window) {
          const Result<unsigned> result = operation.get();
          if (result.ok()) {
            ++values;
          } else if (result.error().code == ErrorCode::kStopped) {
            ++stopped;
          }
        }
        window.clear();
      }
    });
  }
  for (auto& producer : producers) producer.join();
}

TEST(PoolMillion, SubmitsBySixtyFourThreadsEndOnceInFlatMemory) {
  ASSERT_TRUE(testing::resize_pool(2));
  std::atomic<unsigned> values{0};
  std::atomic<unsigned> stopped{0};
  constexpr unsigned kWarmUp = kSubmits / 10 / kProducers * kProducers;
  constexpr unsigned kRest = (kSubmits - kWarmUp) / kProducers * kProducers;
  produce(kWarmUp, values, stopped);
  const long before = resident_bytes();
  produce(kRest, values, stopped);
  const long grown = resident_bytes() - before;
  EXPECT_EQ(values + stopped, kWarmUp + kRest);
  EXPECT_GT(values, 0U);
  if (!kBorrowed) {
    EXPECT_LT(grown, 16L << 20) << "64 threads' stacks and arenas come and go, operations must not stay";
  }
  ASSERT_TRUE(testing::resize_pool(1));  // both have given back what they held
  (void)spawn([](StopToken) {}).get();
  const PoolStats stats = Pool::instance()->stats();
  EXPECT_EQ(stats.queued, 0U);
  EXPECT_EQ(stats.done + stats.stopped, kWarmUp + kRest + 1) << "and the last task";
  EXPECT_EQ(stats.stopped, stopped);
  EXPECT_EQ(stats.failed, 0U);
}

}  // namespace
}  // namespace offloop::runtime
