// Decoders come and go: deaths that no picture is to blame for, deaths by the hundred, fork, exit.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "image/isolate/wire.h"
#include "support/child.h"
#include "support/gate.h"
#include "support/hostile_decoders.h"

namespace offloop::image::isolate {
namespace {

using namespace offloop::testing;

// ---- deaths that no picture is to blame for -----------------------------------------------------------------------

TEST(IsolateLife, OneThatDiedIdleIsReplacedSilently) {
  DecoderSet set(hostile());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(tell(set, "picture"), "");
    for (const auto& [pid, state] : children_of(::getpid())) ::kill(pid, SIGKILL);
  }
  EXPECT_EQ(tell(set, "picture"), "");
  EXPECT_GE(set.started(), 20U);
}

TEST(IsolateLife, OneThatSpeaksUnaskedIsReplaced) {
  DecoderSet set(hostile());
  EXPECT_TRUE(tell(set, "lie garbage").starts_with("DecoderCrash"));
  EXPECT_EQ(tell(set, "picture"), "");
}

TEST(IsolateLife, TheEndOfTheThreadThatStartedADecoderCostsNoPicture) {
  DecoderSet set(hostile());
  testing::Gate go;
  testing::Gate started;
  std::thread starter([&] {
    EXPECT_EQ(tell(set, "picture"), "");
    started.open();
    go.wait();
  });
  started.wait();
  std::thread ender([&] {
    EXPECT_GT(busy_child(), 0);
    go.open();
    starter.join();
  });
  const std::string command = "spin " + std::to_string(kBusyNs / 1'000'000 + 200);
  EXPECT_EQ(tell(set, command), "");
  ender.join();
  EXPECT_EQ(set.started(), 2U);  // the first one died with its thread, in the midst of the picture
}

TEST(IsolateLife, NineHundredDeathsLoseNoOtherPicture) {
  const std::size_t descriptors = open_descriptors();
  constexpr int kThreads = 2;
  constexpr int kDeaths = kSanitized ? 30 : 450;
  std::atomic<int> deaths{0};
  {
    DecoderSet set(hostile());
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&set, &deaths, t] {
        const char* const kWays[] = {"segv", "exit 0", "forbidden open", "abort"};
        for (int i = 0; i < kDeaths; ++i) {
          const std::string good = "picture " + std::to_string(t) + " " + std::to_string(i);
          EXPECT_EQ(tell(set, good), "");
          deaths +=
              tell(set, kWays[i % 4]).starts_with("DecoderCrash: the isolated decoder died of this picture") ? 1 : 0;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(deaths.load(), kThreads * kDeaths);
    EXPECT_GE(set.started(), static_cast<std::uint64_t>(kThreads * kDeaths));
    EXPECT_EQ(zombies(), 0U);
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_TRUE(children_of(::getpid()).empty());
}

TEST(IsolateLife, KilledFromOutsideAHundredTimesLosesThatPictureOnly) {
  constexpr int kDeaths = kSanitized ? 10 : 100;
  DecoderSet set(hostile());
  int deaths = 0;
  for (int i = 0; i < kDeaths; ++i) {
    std::atomic<bool> over{false};
    EXPECT_EQ(tell(set, "picture"), "");
    std::thread killer([&] {
      while (!over) {
        for (const pid_t pid : pidfd_processes()) {
          if (state_and_parent(pid).first == 'R') ::kill(pid, SIGKILL);
        }
      }
    });
    const std::string said = tell(set, "loop");
    over = true;
    killer.join();
    EXPECT_TRUE(died(said, "SIGKILL: killed from outside") || said.find("something kills them") != std::string::npos)
        << said;
    deaths += said.starts_with("DecoderCrash") ? 1 : 0;
  }
  EXPECT_EQ(deaths, kDeaths);
  EXPECT_EQ(tell(set, "picture"), "");
  EXPECT_EQ(zombies(), 0U);
}

TEST(IsolateLife, ParallelCallersHaveDecodersOfTheirOwn) {
  Options options = hostile();
  options.idle = 3;
  const std::size_t descriptors = open_descriptors();
  {
    DecoderSet set(options);
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&set, t] {
        for (int i = 0; i < 40; ++i) EXPECT_EQ(tell(set, std::to_string(t) + " " + std::to_string(i)), "");
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(children_of(::getpid()).size(), 3U);
    EXPECT_EQ(tell(set, "picture"), "");
    EXPECT_EQ(zombies(), 0U);
  }
  EXPECT_EQ(open_descriptors(), descriptors);
}

// ---- the process-wide set -----------------------------------------------------------------------------------------

class SharedSet : public ::testing::Test {
 protected:
  void SetUp() override { ::setenv("OFFLOOP_DECODER", OFFLOOP_HOSTILE_DECODER, 1); }
};

TEST_F(SharedSet, OtherFormatsAreUnsupported) {
  const std::string gif = "GIF89a and so on";
  const std::vector<std::uint8_t> bytes(gif.begin(), gif.end());
  const auto in = isolated_process(bytes, {}, {});
  ASSERT_FALSE(in.ok());
  EXPECT_EQ(in.error().code, ErrorCode::kUnsupportedFormat);
  EXPECT_EQ(in.error().message, "isolate=True reads and writes jpeg, png and webp, got gif");
  Recipe recipe;
  recipe.output.format = Format::kAvif;
  const auto out = isolated_process(picture("picture"), recipe, {});
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().message, "isolate=True reads and writes jpeg, png and webp, got avif");
  recipe = {};
  recipe.engine = Engine::kVips;
  EXPECT_EQ(isolated_process(picture("picture"), recipe, {}).error().code, ErrorCode::kUnsupportedFormat);
}

TEST_F(SharedSet, FramesAreNotLostSilently) {
  Recipe recipe;
  EXPECT_TRUE(isolated_process(picture("animation"), recipe, {}).ok());
  recipe.all_frames = true;
  const auto all = isolated_process(picture("animation"), recipe, {});
  ASSERT_FALSE(all.ok());
  EXPECT_EQ(all.error().code, ErrorCode::kUnsupportedFormat);
  EXPECT_EQ(all.error().message, "isolate=True decodes the first frame of an animation only, this one has 3");
}

TEST_F(SharedSet, WhatNeedsNoDecoderIsSaidWithoutOne) {
  Recipe recipe;
  recipe.limits.max_bytes = 5;
  EXPECT_EQ(isolated_process(picture("picture"), recipe, {}).error().code, ErrorCode::kImageLimit);
  recipe = {};
  recipe.steps.assign(kMaxSteps + 1, Flip{});
  EXPECT_EQ(isolated_process(picture("picture"), recipe, {}).error().code, ErrorCode::kInvalidArgument);
  PlainWork work;
  work.request_stop();
  EXPECT_EQ(isolated_process(picture("picture"), {}, Stop(&work)).error().code, ErrorCode::kStopped);
}

TEST_F(SharedSet, AForkedChildHasDecodersOfItsOwn) {
  EXPECT_EQ(isolated("parent"), "");
  const auto mine = children_of(::getpid());
  ASSERT_EQ(mine.size(), 1U);
  EXPECT_EQ(testing::run_in_child([&] {
              const std::size_t before = open_descriptors();
              if (!children_of(::getpid()).empty()) return 1;
              if (isolated("child") != "") return 2;
              if (children_of(::getpid()).size() != 1) return 3;
              if (open_descriptors() != before) return 4;  // four of the parent's closed, four of its own
              std::exit(0);                                // with the exit handler of the parent's, too
            }),
            "exit 0");
  EXPECT_EQ(isolated("parent"), "");
  const auto still_mine = children_of(::getpid());
  ASSERT_EQ(still_mine.size(), 1U);
  EXPECT_EQ(still_mine[0].first, mine[0].first);
}

TEST_F(SharedSet, AForkInTheMidstOfAPictureHarmsNeither) {
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over) EXPECT_EQ(isolated("parent"), "");
  });
  for (int i = 0; i < (kSanitized ? 5 : 30); ++i) {
    EXPECT_EQ(testing::run_in_child([&] { return isolated("child") == "" ? 0 : 1; }), "exit 0");
  }
  over = true;
  busy.join();
}

/// Runs body in a child and returns how the descendants ended that it has left behind, which come to us then.
std::vector<std::string> left_behind(const std::function<int()>& body) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const auto before = children_of(::getpid());  // decoders of this process: the child may be gone before we look again
  (void)testing::fork_child(body).wait();
  std::vector<std::string> ends;
  for (const auto& [pid, state] : children_of(::getpid())) {
    bool known = false;
    for (const auto& [other, _] : before) known = known || other == pid;
    if (!known) ends.push_back(testing::Child{pid}.wait());
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  return ends;
}

TEST_F(SharedSet, AtExitDecodersAreEndedAndWaitedFor) {
  EXPECT_EQ(left_behind([]() -> int {
              if (isolated("picture") != "") ::_exit(1);
              std::exit(0);
            }),
            std::vector<std::string>{});
}

TEST_F(SharedSet, DecodersEndWithAParentThatHadNoTimeToSayGoodbye) {
  const auto idle = left_behind([] { return isolated("picture") == "" ? 0 : 1; });
  ASSERT_EQ(idle.size(), 1U);
  EXPECT_TRUE(idle[0] == "signal " + std::to_string(SIGRTMAX) || idle[0] == "exit 0") << idle[0];  // what it sees first
  const auto busy = left_behind([]() -> int {
    std::thread([] { (void)isolated("loop"); }).detach();
    if (busy_child() < 0) return 1;
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(busy, std::vector<std::string>{"signal " + std::to_string(SIGRTMAX)});
}

}  // namespace
}  // namespace offloop::image::isolate
