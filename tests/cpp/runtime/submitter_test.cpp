// Whether the last submitter runs is seen from its CPU clock.
#include "runtime/submitter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "support/gate.h"
#include "support/test_pool.h"

namespace offloop::runtime {
namespace {

bool until(const std::function<bool()>& seen) {
  const auto limit = std::chrono::steady_clock::now() + testing::kHang;
  while (!seen()) {
    if (std::chrono::steady_clock::now() > limit) return false;
  }
  return true;
}

/// A thread that wants to run may be off its CPU for a moment; one that sleeps stays off it.
bool stays_off(const Submitter& submitter) {
  unsigned in_a_row = 0;
  return until([&] {
    in_a_row = submitter.runs() ? 0 : in_a_row + 1;
    return in_a_row == 10'000;
  });
}

TEST(Submitter, NobodyHasSubmittedYet) {
  const Submitter submitter;
  EXPECT_FALSE(submitter.runs());
}

TEST(Submitter, WhoSpinsRunsAndWhoSleepsDoesNot) {
  Submitter submitter;
  std::atomic<bool> spin{true};
  testing::Gate noted, go;
  std::thread thread([&] {
    submitter.note();
    noted.open();
    while (spin.load(std::memory_order_relaxed)) {
    }
    go.wait();
  });
  noted.wait();
  EXPECT_TRUE(until([&] { return submitter.runs(); })) << "others may have its CPU for a while, not for ever";
  spin = false;
  EXPECT_TRUE(stays_off(submitter));
  go.open();
  thread.join();
}

TEST(Submitter, OneThatHasEndedDoesNotRun) {
  Submitter submitter;
  std::thread([&] { submitter.note(); }).join();
  EXPECT_TRUE(stays_off(submitter)) << "who has joined it may be ahead of the kernel's last steps with it";
}

TEST(Submitter, TheLastOneCounts) {
  Submitter submitter;
  testing::Gate go;
  std::atomic<bool> noted{false};
  submitter.note();  // this thread runs, as it looks
  EXPECT_TRUE(until([&] { return submitter.runs(); }));
  std::thread thread([&] {
    submitter.note();
    noted = true;
    go.wait();
  });
  EXPECT_TRUE(until([&] { return noted.load(); }));
  EXPECT_TRUE(stays_off(submitter)) << "this thread runs, but it is not the last one";
  go.open();
  thread.join();
}

}  // namespace
}  // namespace offloop::runtime
