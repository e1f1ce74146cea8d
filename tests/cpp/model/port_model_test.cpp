// The port's protocol, the code that ships, in every interleaving of its steps and with every value that memory may
// return. Each mutant weakens one memory order or swaps two steps, and must be caught: that is what shows that the
// model can see.
#include <gtest/gtest.h>

#include <iostream>

#include "model/port_programs.h"

namespace offloop::model {
namespace {

using Scenario = void (*)(Explorer&);

// ---- mutants -------------------------------------------------------------------------------------------------------

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kAcqRel = std::memory_order_acq_rel;

struct LinkRelaxed : PortOrders {
  static constexpr auto kLink = kRelaxed;
};
struct TakeRelaxed : PortOrders {
  static constexpr auto kTake = kRelaxed;
};
struct LeaveRelaxed : PortOrders {
  static constexpr auto kLeave = kRelaxed;
};
struct AwaitLastRelaxed : PortOrders {
  static constexpr auto kAwaitLastProducers = kRelaxed;
};
struct DropRelaxed : PortOrders {
  static constexpr auto kDropReference = kRelaxed;
};
struct DropRelease : PortOrders {
  static constexpr auto kDropReference = std::memory_order_release;
};
struct DropAcquire : PortOrders {
  static constexpr auto kDropReference = kAcquire;
};
struct EnterAcqRel : PortOrders {
  static constexpr auto kEnter = kAcqRel;
};
struct SeeClosedAcquire : PortOrders {
  static constexpr auto kSeeClosed = kAcquire;
};
struct CloseAcqRel : PortOrders {
  static constexpr auto kClose = kAcqRel;
};
struct AwaitAcquire : PortOrders {
  static constexpr auto kAwaitProducers = kAcquire;
};

struct SignalBeforePush : Real<> {
  template <class Orphaned>
  void push(Item* first, Item* last, Orphaned orphaned) {
    enter();
    if (head_.load(kAcquire) == nullptr) announce(orphaned);
    (void)link(first, last);
    leave();
  }
};

struct ReadAfterExchange : Real<> {
  Item* drain() {
    Item* newest = take();
    clear();
    return in_order(newest);
  }
};

struct CloseWithoutWaiting : Real<> {
  void close() {
    if (closed_.exchange(true, PortOrders::kClose)) return;
    Outside::close(fd_);
    fd_ = -1;
  }
};

struct LeaveBeforeSignal : Real<> {
  template <class Orphaned>
  void push(Item* first, Item* last, Orphaned orphaned) {
    enter();
    const bool was_empty = link(first, last);
    leave();
    if (was_empty) announce(orphaned);
  }
};

struct UnrefWithoutWaiting : Real<> {
  bool unref() {
    if (refs_.fetch_sub(1, PortOrders::kDropReference) != 1) return false;
    if (fd_ >= 0) Outside::close(fd_);
    return true;
  }
};

/// A child that takes itself for the parent: it waits for producers that do not exist, or touches the shared counter.
struct OneGeneration : Outside {
  static std::uint32_t fork_generation() { return 0; }
};
struct DrainInChild : Real<PortOrders, Outside> {
  Item* drain() {
    if (!closed()) Outside::clear(fd_);
    return in_order(take());
  }
};
struct CloseInChildWaits : Real<PortOrders, Outside> {
  void close() {
    if (closed_.exchange(true, PortOrders::kClose)) return;
    while (producers_.load(PortOrders::kAwaitProducers) != 0) Outside::yield();
    Outside::close(fd_);
    fd_ = -1;
  }
};

struct Case {
  const char* name;
  Scenario scenario;
  const char* found;  ///< part of the violation; null: there is none
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const Case kCases[] = {
    {"TheProtocol_ProducersAndLoop", producers_and_loop<Real<>>, nullptr},
    {"TheProtocol_DrainInTwoTurns", drain_in_two_turns<Real<>>, nullptr},
    {"TheProtocol_CloseWhilePushing", close_while_pushing<Real<>>, nullptr},
    {"TheProtocol_EndAfterTheLastItem", end_after_the_last_item<Real<>>, nullptr},
    {"TheProtocol_EndByWhoeverIsLast", end_by_whoever_is_last<Real<>>, nullptr},
    {"TheProtocol_ForkWhilePushing", fork_while_pushing<Real<>>, nullptr},
    {"Mutant_LinkRelaxed", producers_and_loop<Real<LinkRelaxed>>, "data race"},
    {"Mutant_TakeRelaxed", producers_and_loop<Real<TakeRelaxed>>, "data race"},
    {"Mutant_SignalBeforePush", producers_and_loop<SignalBeforePush>, "hang: loop"},
    {"Mutant_ReadAfterExchange", producers_and_loop<ReadAfterExchange>, "hang: loop"},
    {"Mutant_LeaveRelaxed_Close", close_while_pushing<Real<LeaveRelaxed>>, "data race on the descriptor"},
    {"Mutant_LeaveRelaxed_End", end_after_the_last_item<Real<LeaveRelaxed>>, "data race on the descriptor"},
    {"Mutant_AwaitLastRelaxed", end_after_the_last_item<Real<AwaitLastRelaxed>>, "destroyed while"},
    {"Mutant_DropRelaxed", end_by_whoever_is_last<Real<DropRelaxed>>, "destroyed while"},
    {"Mutant_DropRelease", end_by_whoever_is_last<Real<DropRelease>>, "destroyed while"},
    {"Mutant_DropAcquire", end_by_whoever_is_last<Real<DropAcquire>>, "destroyed while"},
    {"Mutant_EnterAcqRel", close_while_pushing<Real<EnterAcqRel>>, "descriptor"},
    {"Mutant_SeeClosedAcquire", close_while_pushing<Real<SeeClosedAcquire>>, "data race"},
    {"Mutant_CloseAcqRel", close_while_pushing<Real<CloseAcqRel>>, "data race"},
    {"Mutant_AwaitAcquire", close_while_pushing<Real<AwaitAcquire>>, "descriptor"},
    {"Mutant_CloseWithoutWaiting", close_while_pushing<CloseWithoutWaiting>, "descriptor"},
    {"Mutant_LeaveBeforeSignal", close_while_pushing<LeaveBeforeSignal>, "descriptor"},
    {"Mutant_UnrefWithoutWaiting", end_after_the_last_item<UnrefWithoutWaiting>, "destroyed while"},
    {"Mutant_ForkWithoutGeneration", fork_while_pushing<Real<PortOrders, OneGeneration>>, "forked child touches"},
    {"Mutant_DrainWithoutGeneration", fork_while_pushing<DrainInChild>, "forked child touches"},
    {"Mutant_CloseWithoutGeneration", fork_while_pushing<CloseInChildWaits>, "hang: loop"},
};

class PortModel : public ::testing::TestWithParam<Case> {};

TEST_P(PortModel, HoldsOrIsCaught) {
  const Case& c = GetParam();
  const Outcome outcome = Explorer::explore(c.scenario);
  std::cout << c.name << ": " << outcome.executions << " executions, " << outcome.states << " states\n";
  if (c.found == nullptr) {
    EXPECT_TRUE(outcome.complete && outcome.violation.empty()) << outcome.text();
  } else {
    EXPECT_NE(outcome.violation.find(c.found), std::string::npos) << "not caught: " << outcome.text();
  }
}

INSTANTIATE_TEST_SUITE_P(All, PortModel, ::testing::ValuesIn(kCases),
                         [](const ::testing::TestParamInfo<Case>& each) { return each.param.name; });

}  // namespace
}  // namespace offloop::model
