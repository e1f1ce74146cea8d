// The pool's sleep and wake, the code that ships, in every interleaving of its steps and with every value that memory
// may return. The queues behind it are a small stand-in: they live under a mutex, where nothing is to be explored.
//
// Each mutant weakens the handshake or leaves out one of its looks, and must be caught.
//
// The bound: a thread that could go on is interrupted at most twice or three times in an execution (the table says it;
// what memory returns is not bounded, and the closing of a pool has no bound at all). Without one the larger programs
// have tens of millions of states. All mutants are caught with two, as nearly all known bugs of this kind are; the
// logic without the memory orders is searched without a bound in spin/sleep.pml. OFFLOOP_MODEL_PREEMPTIONS= sets
// another bound, -1 none.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "model/sleep_programs.h"

namespace offloop::model {
namespace {

// ---- mutants -------------------------------------------------------------------------------------------------------

constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kAcqRel = std::memory_order_acq_rel;
constexpr auto kRelaxed = std::memory_order_relaxed;

struct AllAcqRel : SleepOrders {
  static constexpr auto kPush = kAcqRel, kDraw = kAcqRel, kRing = kAcqRel, kCount = kAcqRel;
  static constexpr auto kSeeWork = kAcquire, kSeeCounts = kAcquire;
};
struct PushAcqRel : SleepOrders {
  static constexpr auto kPush = kAcqRel;
};
struct CountAcqRel : SleepOrders {
  static constexpr auto kCount = kAcqRel;
};
struct SeeWorkAcquire : SleepOrders {
  static constexpr auto kSeeWork = kAcquire;
};
struct SeeCountsAcquire : SleepOrders {
  static constexpr auto kSeeCounts = kAcquire;
};
struct PushRelaxed : SleepOrders {
  static constexpr auto kPush = kRelaxed;
};
struct DrawRelaxed : SleepOrders {
  static constexpr auto kDraw = kRelaxed;
};

struct DrawAcquire : SleepOrders {
  static constexpr auto kDraw = kAcquire;
};
struct PushRelease : SleepOrders {
  static constexpr auto kPush = std::memory_order_release;
};

struct NoLookAfterThePush : Real<> {
  bool closed_meanwhile() { return false; }
};
struct SleepsWithoutASecondLook : Real<> {
  void sleep(Sleeper& self, unsigned) {
    lie_down(self);
    while (self.awake.load(kAcquire) == 0) Parking::wait(self.awake, 0);
  }
};
struct LooksBeforeItIsCounted : Real<> {
  void sleep(Sleeper& self, unsigned index) {
    if (must_rise(index)) return;
    lie_down(self);
    while (self.awake.load(kAcquire) == 0) Parking::wait(self.awake, 0);
  }
};
struct WakesBeforeThePush : Real<> {
  void push(Item* bottom, Item* top) {
    wake_if_behind();
    Real::push(bottom, top);
  }
  void wake_if_behind() { Real::wake_if_behind(); }
};
struct NoHandOverToALongTask : Real<> {
  void begin_long() { prompt.fetch_sub(1, SleepOrders::kCount); }
};
struct HandsOverBeforeItIsCounted : Real<> {
  void begin_long() {
    hand_over();
    prompt.fetch_sub(1, SleepOrders::kCount);
  }
};
struct NoHandOverAfterARefill : Real<> {
  void drew_while_long() {}
};
struct NoHandOverByWhoLeaves : Real<> {
  void leave() { prompt.fetch_sub(1, SleepOrders::kCount); }
};
struct NoHandOverByWhoDidNotStart : Real<> {
  void take_back() { prompt.fetch_sub(1, SleepOrders::kCount); }
};
struct CloseWithoutWaking : Real<> {
  void close() { closed.store(true, SleepOrders::kEnd); }
};
struct WakesBeforeItCloses : Real<> {
  void close() {
    wake_all();
    closed.store(true, SleepOrders::kEnd);
  }
};

using Scenario = void (*)(Explorer&);

struct Case {
  const char* name;
  Scenario scenario;
  const char* found;  ///< part of the violation; null: there is none
  int preemptions = 2;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const Case kCases[] = {
    {"TheProtocol_OneWorker", one_worker<Real<>>, nullptr, 3},
    {"TheProtocol_TwoWorkers", two_workers<Real<>>, nullptr},
    {"TheProtocol_LongTask", long_task<Real<>>, nullptr},
    {"TheProtocol_LongTaskThatRefills", long_task_that_refills<Real<>>, nullptr},
    {"TheProtocol_Shrink", shrink<Real<>>, nullptr},
    {"TheProtocol_StartThatFails", start_that_fails<Real<>>, nullptr, 3},
    {"TheProtocol_Close", close_pool<Real<>>, nullptr, -1},
    {"TheProtocol_CloseWhileSubmitting", close_while_submitting<Real<>>, nullptr},
    {"Mutant_AllAcqRel", one_worker<Real<AllAcqRel>>, "everybody sleeps"},
    {"Mutant_PushAcqRel", one_worker<Real<PushAcqRel>>, "everybody sleeps"},
    {"Mutant_CountAcqRel", one_worker<Real<CountAcqRel>>, "everybody sleeps"},
    {"Mutant_SeeWorkAcquire", one_worker<Real<SeeWorkAcquire>>, "everybody sleeps"},
    {"Mutant_SeeCountsAcquire", one_worker<Real<SeeCountsAcquire>>, "everybody sleeps"},
    {"Mutant_PushRelaxed", one_worker<Real<PushRelaxed>>, "data race"},
    {"Mutant_DrawRelaxed", one_worker<Real<DrawRelaxed>>, "data race"},
    {"Mutant_DrawAcquire", close_while_submitting<Real<DrawAcquire>>, "everybody sleeps"},
    {"Mutant_PushRelease", close_while_submitting<Real<PushRelease>>, "everybody sleeps"},
    {"Mutant_NoLookAfterThePush", close_while_submitting<NoLookAfterThePush>, "everybody sleeps"},
    {"Mutant_SleepsWithoutASecondLook", one_worker<SleepsWithoutASecondLook>, "everybody sleeps"},
    {"Mutant_LooksBeforeItIsCounted", one_worker<LooksBeforeItIsCounted>, "everybody sleeps"},
    {"Mutant_NoHandOverToALongTask", long_task<NoHandOverToALongTask>, "everybody sleeps"},
    {"Mutant_HandsOverBeforeItIsCounted", long_task<HandsOverBeforeItIsCounted>, "everybody sleeps"},
    {"Mutant_NoHandOverAfterARefill", long_task_that_refills<NoHandOverAfterARefill>, "everybody sleeps"},
    {"Mutant_NoHandOverByWhoLeaves", shrink<NoHandOverByWhoLeaves>, "everybody sleeps"},
    {"Mutant_NoHandOverByWhoDidNotStart", start_that_fails<NoHandOverByWhoDidNotStart>, "everybody sleeps"},
    {"Mutant_CloseWithoutWaking", close_pool<CloseWithoutWaking>, "sleeps in a closed pool"},
    {"Mutant_WakesBeforeItCloses", close_pool<WakesBeforeItCloses>, "sleeps in a closed pool"},
};

class SleepModel : public ::testing::TestWithParam<Case> {};

TEST_P(SleepModel, HoldsOrIsCaught) {
  const Case& c = GetParam();
  Options options;
  options.preemptions = c.preemptions;
  if (const char* more = std::getenv("OFFLOOP_MODEL_PREEMPTIONS"); more != nullptr)
    options.preemptions = std::atoi(more);
  const Outcome outcome = Explorer::explore(c.scenario, options);
  std::cout << c.name << ": " << outcome.executions << " executions, " << outcome.states << " states\n";
  if (c.found == nullptr) {
    EXPECT_TRUE(outcome.complete && outcome.violation.empty()) << outcome.text();
  } else {
    EXPECT_NE(outcome.violation.find(c.found), std::string::npos) << "not caught: " << outcome.text();
  }
}

INSTANTIATE_TEST_SUITE_P(All, SleepModel, ::testing::ValuesIn(kCases),
                         [](const ::testing::TestParamInfo<Case>& each) { return each.param.name; });

}  // namespace
}  // namespace offloop::model
