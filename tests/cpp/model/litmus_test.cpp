// The explorer itself: it must find every outcome that C++20 allows of the well-known small programs, and no other.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "model/explorer/model_atomics.h"

namespace offloop::model {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcqRel = std::memory_order_acq_rel;
constexpr auto kSeqCst = std::memory_order_seq_cst;

struct State {
  Atomic<int> x{0}, y{0};
  Plain<int> data{0};
  Mutex mutex;
  int r[4] = {-1, -1, -1, -1};
};

using Body = std::function<void(State&)>;

/// The values of r[0..registers) in all executions: "01" for r[0] = 0 and r[1] = 1.
std::set<std::string> outcomes(unsigned registers, const std::vector<Body>& bodies, std::string* violation = nullptr) {
  std::set<std::string> seen;
  const Outcome outcome = Explorer::explore([&](Explorer& e) {
    auto state = std::make_shared<State>();
    for (const Body& body : bodies) e.thread("thread", [state, &body] { body(*state); });
    e.at_end([state, registers, &seen] {
      std::string values;
      for (unsigned i = 0; i < registers; ++i) values += std::to_string(state->r[i]);
      seen.insert(values);
    });
  });
  if (violation != nullptr) {
    *violation = outcome.violation;
  } else {
    EXPECT_TRUE(outcome.complete && outcome.violation.empty()) << outcome.text();
  }
  return seen;
}

using Set = std::set<std::string>;

Set message_passing(std::memory_order store, std::memory_order load) {
  return outcomes(2, {[=](State& s) {
                        s.x.store(1, kRelaxed);
                        s.y.store(1, store);
                      },
                      [=](State& s) {
                        s.r[0] = s.y.load(load);
                        s.r[1] = s.x.load(kRelaxed);
                      }});
}

TEST(Litmus, MessagePassing) {
  EXPECT_EQ(message_passing(kRelease, kAcquire), (Set{"00", "01", "11"}));
  EXPECT_EQ(message_passing(kSeqCst, kSeqCst), (Set{"00", "01", "11"}));
  EXPECT_EQ(message_passing(kRelaxed, kAcquire), (Set{"00", "01", "10", "11"}));
  EXPECT_EQ(message_passing(kRelease, kRelaxed), (Set{"00", "01", "10", "11"}));
}

Set store_buffering(std::memory_order store, std::memory_order load) {
  return outcomes(2, {[=](State& s) {
                        s.x.store(1, store);
                        s.r[0] = s.y.load(load);
                      },
                      [=](State& s) {
                        s.y.store(1, store);
                        s.r[1] = s.x.load(load);
                      }});
}

TEST(Litmus, StoreBufferingNeedsSeqCstOnAllFour) {
  EXPECT_EQ(store_buffering(kSeqCst, kSeqCst), (Set{"01", "10", "11"}));
  EXPECT_EQ(store_buffering(kRelease, kAcquire), (Set{"00", "01", "10", "11"}));
  EXPECT_EQ(store_buffering(kRelease, kSeqCst), (Set{"00", "01", "10", "11"}));
  EXPECT_EQ(store_buffering(kSeqCst, kAcquire), (Set{"00", "01", "10", "11"}));
}

TEST(Litmus, StoreBufferingByReadModifyWrites) {
  const auto run = [](std::memory_order change, std::memory_order load) {
    return outcomes(2, {[=](State& s) {
                          s.x.fetch_add(1, change);
                          s.r[0] = s.y.load(load);
                        },
                        [=](State& s) {
                          s.y.fetch_add(1, change);
                          s.r[1] = s.x.load(load);
                        }});
  };
  EXPECT_EQ(run(kSeqCst, kSeqCst), (Set{"01", "10", "11"}));
  EXPECT_EQ(run(kAcqRel, kAcquire), (Set{"00", "01", "10", "11"}));
}

TEST(Litmus, AThreadNeverReadsBackwards) {
  EXPECT_EQ(outcomes(2, {[](State& s) { s.x.store(1, kRelaxed); },
                         [](State& s) {
                           s.r[0] = s.x.load(kRelaxed);
                           s.r[1] = s.x.load(kRelaxed);
                         }}),
            (Set{"00", "01", "11"}));
}

TEST(Litmus, LoadBufferingIsNotExplored) {
  EXPECT_EQ(outcomes(2, {[](State& s) {
                           s.r[0] = s.x.load(kRelaxed);
                           s.y.store(1, kRelaxed);
                         },
                         [](State& s) {
                           s.r[1] = s.y.load(kRelaxed);
                           s.x.store(1, kRelaxed);
                         }}),
            (Set{"00", "01", "10"}));
}

bool readers_disagree(std::memory_order store, std::memory_order load) {
  return outcomes(4, {[=](State& s) { s.x.store(1, store); }, [=](State& s) { s.y.store(1, store); },
                      [=](State& s) {
                        s.r[0] = s.x.load(load);
                        s.r[1] = s.y.load(load);
                      },
                      [=](State& s) {
                        s.r[2] = s.y.load(load);
                        s.r[3] = s.x.load(load);
                      }})
      .contains("1010");
}

TEST(Litmus, IndependentReadersAgreeOnSeqCstStoresOnly) {
  EXPECT_FALSE(readers_disagree(kSeqCst, kSeqCst));
  EXPECT_TRUE(readers_disagree(kRelease, kAcquire));
}

TEST(Litmus, HappensBeforeIsTransitive) {
  EXPECT_FALSE(outcomes(3, {[](State& s) {
                              s.x.store(1, kRelaxed);
                              s.y.store(1, kRelease);
                            },
                            [](State& s) {
                              s.r[0] = s.y.load(kAcquire);
                              if (s.r[0] == 1) s.y.store(2, kRelease);
                            },
                            [](State& s) {
                              s.r[1] = s.y.load(kAcquire);
                              s.r[2] = s.x.load(kRelaxed);
                            }})
                   .contains("120"));
}

// A relaxed read-modify-write continues the release sequence; a relaxed store ends it.
TEST(Litmus, ReleaseSequences) {
  const auto through = [](auto change) {
    return outcomes(2, {[](State& s) {
                          s.x.store(1, kRelaxed);
                          s.y.store(1, kRelease);
                        },
                        [=](State& s) {
                          if (s.y.load(kRelaxed) == 1) change(s.y);
                        },
                        [](State& s) {
                          s.r[0] = s.y.load(kAcquire);
                          s.r[1] = s.x.load(kRelaxed);
                        }})
        .contains("20");
  };
  EXPECT_FALSE(through([](Atomic<int>& y) { y.fetch_add(1, kRelaxed); }));
  EXPECT_TRUE(through([](Atomic<int>& y) { y.store(2, kRelaxed); }));
}

TEST(Litmus, ReadModifyWritesAreAtomic) {
  std::set<int> sums;
  const Outcome outcome = Explorer::explore([&](Explorer& e) {
    auto state = std::make_shared<State>();
    for (int t = 0; t < 3; ++t) {
      e.thread("adder", [state] {
        int seen = state->x.load(kRelaxed);
        while (!state->x.compare_exchange_weak(seen, seen + 1, kRelaxed, kRelaxed)) {
        }
      });
    }
    e.at_end([state, &sums] { sums.insert(state->x.load(kRelaxed)); });
  });
  EXPECT_TRUE(outcome.complete && outcome.violation.empty()) << outcome.text();
  EXPECT_EQ(sums, std::set<int>{3});
}

std::string publish(std::memory_order store, std::memory_order load) {
  std::string violation;
  (void)outcomes(1,
                 {[=](State& s) {
                    s.data = 1;
                    s.x.store(1, store);
                  },
                  [=](State& s) {
                    if (s.x.load(load) == 1) s.r[0] = s.data;
                  }},
                 &violation);
  return violation;
}

TEST(Litmus, ADataRaceIsFound) {
  EXPECT_EQ(publish(kRelease, kAcquire), "");
  EXPECT_NE(publish(kRelaxed, kAcquire).find("data race"), std::string::npos);
  EXPECT_NE(publish(kRelease, kRelaxed).find("data race"), std::string::npos);
}

TEST(Litmus, AccessAfterAReleaseIsNotOrderedByIt) {
  std::string violation;
  (void)outcomes(1,
                 {[](State& s) {
                    s.x.store(1, kRelease);
                    s.data = 1;
                  },
                  [](State& s) {
                    if (s.x.load(kAcquire) == 1) s.r[0] = s.data;
                  }},
                 &violation);
  EXPECT_NE(violation.find("data race"), std::string::npos);
}

TEST(Litmus, AMutexOrdersAndExcludes) {
  const Body add = [](State& s) {
    s.mutex.lock();
    s.data = s.data + 1;
    s.mutex.unlock();
  };
  EXPECT_EQ(outcomes(1, {add, add,
                         [](State& s) {
                           s.mutex.lock();
                           s.r[0] = s.data;
                           s.mutex.unlock();
                         }}),
            (Set{"0", "1", "2"}));
}

TEST(Litmus, AThreadThatWaitsForEverIsAHang) {
  std::string violation;
  (void)outcomes(1, {[](State& s) {
                   while (s.x.load(kAcquire) == 0) yield();
                 }},
                 &violation);
  EXPECT_NE(violation.find("hang"), std::string::npos);
  EXPECT_EQ(outcomes(1, {[](State& s) {
                           while (s.x.load(kRelaxed) != 2) yield();
                           s.r[0] = 2;
                         },
                         [](State& s) {
                           s.x.store(1, kRelaxed);
                           s.x.store(2, kRelaxed);
                         }}),
            (Set{"2"}));
}

TEST(Litmus, StoresThatRaceAreReportedNotIgnored) {
  std::string violation;
  (void)outcomes(1, {[](State& s) { s.x.store(1, kRelaxed); }, [](State& s) { s.x.store(2, kRelaxed); }}, &violation);
  EXPECT_NE(violation.find("beyond this model"), std::string::npos);
}

// The trace of a violation names each step, so that a person can follow it.
TEST(Litmus, AViolationComesWithItsTrace) {
  const Outcome outcome = Explorer::explore([](Explorer& e) {
    auto state = std::make_shared<State>();
    state->x.bits().name("x");
    e.thread("writer", [state] { state->x.store(1, kRelaxed); });
    e.thread("reader", [state] { Explorer::current().require(state->x.load(kAcquire) == 0, "x is not zero"); });
  });
  EXPECT_EQ(outcome.violation, "x is not zero");
  EXPECT_EQ(outcome.trace, (std::vector<std::string>{"writer: store x relaxed: 1", "reader: load x acquire: 1"}));
}

}  // namespace
}  // namespace offloop::model
