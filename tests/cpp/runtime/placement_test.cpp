// A sleeper is put where nobody is known to run, and gets back exactly the mask that it had.
#include "runtime/placement.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "offloop/runtime/pool.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

cpu_set_t mask_of(pid_t thread) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  EXPECT_EQ(::sched_getaffinity(thread, sizeof mask, &mask), 0);
  return mask;
}

std::vector<int> cpus_of(const cpu_set_t& mask) {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<unsigned>(cpu), &mask)) cpus.push_back(cpu);
  return cpus;
}

cpu_set_t only(int cpu) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(static_cast<unsigned>(cpu), &mask);
  return mask;
}

/// A thread that sleeps until it is told to rise, as a worker does.
class Sleeper {
 public:
  explicit Sleeper(Placement& placement) : seat(placement), thread_([this] { sleep(); }) {
    while (id.load() == 0) std::this_thread::yield();
  }
  ~Sleeper() {
    rise();
    gone_.store(true);
    gone_.notify_one();
    thread_.join();
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  /// Returns the mask that it has then.
  std::vector<int> rise() {
    awake_.store(true);
    awake_.notify_one();
    while (!settled_.load()) std::this_thread::yield();
    return cpus_of(mask_of(id.load()));
  }

  std::atomic<pid_t> id{0};
  Seat seat;

 private:
  void sleep() {
    seat.open();
    id.store(::gettid());
    awake_.wait(false);
    seat.settle();
    settled_.store(true);
    gone_.wait(false);
  }

  std::atomic<bool> awake_{false};
  std::atomic<bool> settled_{false};
  std::atomic<bool> gone_{false};
  std::thread thread_;
};

class PlacementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (all_.size() < 2) GTEST_SKIP() << "needs two CPUs";
  }
  /// This thread stays on the first CPU, so that it is known which one is taken.
  void stay() {
    const cpu_set_t here = only(all_[0]);
    ASSERT_EQ(::sched_setaffinity(0, sizeof here, &here), 0);
  }
  void TearDown() override { ::sched_setaffinity(0, sizeof before_, &before_); }

  const cpu_set_t before_ = mask_of(0);
  const std::vector<int> all_ = cpus_of(before_);
  Placement placement_{2};
};

TEST_F(PlacementTest, ItIsKeptOffTheCpuOfWhoWakesItAndGetsItsMaskBack) {
  Sleeper sleeper(placement_);
  stay();
  sleeper.seat.reserve();
  EXPECT_EQ(cpus_of(mask_of(sleeper.id)), std::vector<int>(all_.begin() + 1, all_.end()));
  EXPECT_EQ(sleeper.rise(), all_);
}

TEST_F(PlacementTest, WhoWasBoundElsewhereMeanwhileStaysBound) {
  Sleeper sleeper(placement_);
  stay();
  const cpu_set_t bound = only(all_[1]);
  ASSERT_EQ(::sched_setaffinity(sleeper.id, sizeof bound, &bound), 0);
  sleeper.seat.reserve();
  EXPECT_EQ(sleeper.rise(), cpus_of(bound));
}

TEST_F(PlacementTest, WithNoCpuLeftTheKernelChooses) {
  Sleeper sleeper(placement_);
  stay();
  std::vector<std::unique_ptr<Seat>> seats;
  // Everywhere somebody else runs, but on the CPU of who wakes.
  for (std::size_t i = 1; i < all_.size(); ++i) {
    const cpu_set_t there = only(all_[i]);
    ASSERT_EQ(::sched_setaffinity(0, sizeof there, &there), 0);
    seats.push_back(std::make_unique<Seat>(placement_));
    seats.back()->take();
  }
  stay();
  sleeper.seat.reserve();
  EXPECT_EQ(cpus_of(mask_of(sleeper.id)), all_);
  // One of them has gone to sleep.
  seats.back()->leave();
  sleeper.seat.reserve();
  EXPECT_EQ(cpus_of(mask_of(sleeper.id)), std::vector<int>{all_.back()});
  EXPECT_EQ(sleeper.rise(), all_);
}

TEST_F(PlacementTest, OneCpuOrManyAreLeftToTheKernel) {
  for (const unsigned cpus : {1U, Placement::kMostCpus + 1}) {
    Placement placement(cpus);
    Sleeper sleeper(placement);
    stay();
    sleeper.seat.reserve();
    EXPECT_EQ(cpus_of(mask_of(sleeper.id)), all_) << cpus;
    ::sched_setaffinity(0, sizeof before_, &before_);
  }
}

bool until_all_sleep() {
  const auto until = std::chrono::steady_clock::now() + testing::kHang;
  while (true) {
    const PoolStats stats = Pool::instance()->stats();
    if (stats.sleeping == stats.threads) return true;
    if (std::chrono::steady_clock::now() > until) return false;
    ::sched_yield();
  }
}

/// Wakes the pool from its sleep again and again; true when every work ran under the mask that its thread should have.
bool wakes_leave(const std::map<pid_t, std::vector<int>>& bound, const std::vector<int>& all) {
  std::atomic<unsigned> wrong{0};
  testing::TestGroup group(1, 0, [&](Quantum& q) {
    const auto own = bound.find(::gettid());
    if (cpus_of(mask_of(0)) != (own != bound.end() ? own->second : all)) ++wrong;
    testing::run_one_quantum(q);
  });
  testing::TestSink sink;
  testing::Works works(200, group, sink);
  for (std::size_t i = 0; i < works.size(); ++i) {
    EXPECT_TRUE(Pool::instance()->submit(&works[i]));
    EXPECT_TRUE(sink.wait_for(i + 1));
    EXPECT_TRUE(until_all_sleep());
  }
  return wrong == 0;
}

TEST_F(PlacementTest, ManyWakesLeaveWorkersTheMasksThatTheyHave) {
  ASSERT_TRUE(testing::resize_pool(2));
  const std::uint64_t wakes = Pool::instance()->stats().wakes;
  EXPECT_TRUE(wakes_leave({}, all_));
  EXPECT_GE(Pool::instance()->stats().wakes, wakes + 100);
}

TEST_F(PlacementTest, AWorkerThatIsBoundWhileItSleepsStaysBound) {
  ASSERT_TRUE(testing::resize_pool(1));
  pid_t worker = 0;
  testing::TestGroup group(1, 0, [&](Quantum& q) {
    worker = ::gettid();
    testing::run_one_quantum(q);
  });
  testing::TestSink sink;
  testing::Works works(1, group, sink);
  ASSERT_TRUE(Pool::instance()->submit(&works[0]));
  ASSERT_TRUE(sink.wait_for(1));
  EXPECT_TRUE(until_all_sleep());
  const cpu_set_t bound = only(all_[1]);
  ASSERT_EQ(::sched_setaffinity(worker, sizeof bound, &bound), 0);
  EXPECT_TRUE(wakes_leave({{worker, cpus_of(bound)}}, all_));
  ASSERT_EQ(::sched_setaffinity(worker, sizeof before_, &before_), 0);
}

}  // namespace
}  // namespace offloop::runtime
