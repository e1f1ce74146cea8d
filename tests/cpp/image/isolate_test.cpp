// One picture in a decoder: what comes back, what is not believed, what it may cost.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>
#include <thread>

#include "offloop/runtime/clock.h"
#include "support/hostile_decoders.h"

namespace offloop::image::isolate {
namespace {

using namespace offloop::testing;

TEST(Isolate, APictureGoesThereAndComesBack) {
  DecoderSet set(hostile());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(tell(set, "picture " + std::to_string(i)), "");
  EXPECT_EQ(set.started(), 1U);
}

TEST(Isolate, PicturesOfAllSizes) {
  DecoderSet set(hostile());
  for (const std::size_t size : {0, 1, 4096, 100'000, 20'000'000, 5, 0}) {
    const std::string command(size, 'p');
    EXPECT_EQ(tell(set, command), "");
  }
  EXPECT_EQ(set.started(), 1U);
}

TEST(Isolate, ADecoderIsReplacedAfterSoManyPictures) {
  Options options = hostile();
  options.pictures = 10;
  DecoderSet set(options);
  for (int i = 0; i < 35; ++i) EXPECT_EQ(tell(set, "picture"), "");
  EXPECT_EQ(set.started(), 4U);
}

TEST(Isolate, ADeathFailsThatPictureOnlyAndSaysHow) {
  DecoderSet set(hostile());
  const struct {
    const char* command;
    const char* how;
  } kDeaths[] = {{"segv", "SIGSEGV"},
                 {"exit 0", "exit code 0"},
                 {"exit 7", "exit code 7"},
                 {"abort", "SIGSYS: a system call that its sandbox forbids, or abort()"}};
  for (const auto& [command, how] : kDeaths) {
    EXPECT_TRUE(died(tell(set, command), how));
    EXPECT_EQ(tell(set, "a picture after it"), "");
  }
}

TEST(Isolate, WhatIsNotDecodingEndsIt) {
  DecoderSet set(hostile());
  for (const char* what : {"open", "socket", "execve", "ptrace", "fork", "kill", "prlimit", "signals", "stderr",
                           "input", "send descriptor", "truncate", "mprotect", "executable memory"})
    EXPECT_TRUE(died(tell(set, std::string("forbidden ") + what), "SIGSYS")) << what;
#if defined(__x86_64__)
  EXPECT_TRUE(died(tell(set, "forbidden 32 bits"), "SIG"));
#endif
  EXPECT_EQ(tell(set, "a picture after it"), "");
}

TEST(Isolate, ItsAnswersAreNotBelieved) {
  DecoderSet set(hostile());
  for (const char* how : {"format", "other format", "bytes", "no bytes", "no width", "pixels", "frames", "input pixels",
                          "input format", "orientation", "channels", "timeout", "stopped", "fetch error", "garbage",
                          "long", "another picture", "short"}) {
    Recipe recipe;
    recipe.output.format = Format::kJpeg;
    const std::uint64_t before = set.started();
    const std::string said = tell(set, std::string("lie ") + how, {}, recipe);
    EXPECT_TRUE(said.starts_with("DecoderCrash: the isolated decoder's ")) << how << ": " << said;
    EXPECT_EQ(tell(set, "a picture after it"), "");
    EXPECT_LE(set.started(), before + 1 + (before == 0 ? 1 : 0)) << how;
  }
}

TEST(Isolate, ItsWordsAreCutAndPrintable) {
  DecoderSet set(hostile());
  const auto result = send(set, "lie words");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kImage);
  EXPECT_EQ(result.error().message, "bro?ken?[31m?");
  EXPECT_EQ(result.error().context, std::string(kMaxTextBytes, 'c'));
  EXPECT_EQ(tell(set, "a picture after it"), "");
  EXPECT_EQ(set.started(), 1U);  // an error is an answer
}

// ---- budgets ------------------------------------------------------------------------------------------------------

TEST(Isolate, APictureThatUsesTooMuchCpuTimeIsEnded) {
  Options options = hostile();
  options.cpu_ns = 200'000'000;
  DecoderSet set(options);
  EXPECT_EQ(tell(set, "loop"), "DecoderCrash: the picture took more than 0.2 s of CPU time to decode");
  EXPECT_EQ(tell(set, "a picture after it"), "");
  EXPECT_EQ(tell(set, "spin 50"), "");  // what earlier pictures used is not counted
  EXPECT_EQ(tell(set, "spin 50"), "");
  EXPECT_EQ(tell(set, "spin 50"), "");
  EXPECT_EQ(tell(set, "spin 50"), "");
  EXPECT_EQ(tell(set, "spin 50"), "");
  EXPECT_EQ(set.started(), 2U);
}

TEST(Isolate, TheKernelEndsItWhenWeDoNot) {
  DecoderSet set(hostile());
  std::thread limiter([] {
    const pid_t pid = busy_child();
    const rlimit one{1, 1};
    EXPECT_EQ(::prlimit(pid, RLIMIT_CPU, &one, nullptr), 0);
  });
  const std::string said = tell(set, "loop");
  limiter.join();
  EXPECT_TRUE(died(said, "SIGXCPU: it used more CPU time than it may") || died(said, "SIGKILL"));
}

TEST(Isolate, APictureThatWaitsForeverIsEnded) {
  Options options = hostile();
  options.stuck_ns = 150'000'000;
  DecoderSet set(options);
  EXPECT_EQ(tell(set, "hang"), "DecoderCrash: the isolated decoder has not answered for 0.1 s");
  EXPECT_EQ(tell(set, "a picture after it"), "");
}

TEST(Isolate, APictureThatNeedsTooMuchMemoryFails) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's shadow memory allows no limit";
  DecoderSet set(hostile());
  Recipe recipe;
  recipe.limits.max_pixels = recipe.limits.max_output_pixels = 1'000'000;
  EXPECT_EQ(tell(set, "hoard", {}, recipe),
            "DecoderCrash: the picture needs more memory than its decoder may have (384 MiB)");
  EXPECT_EQ(tell(set, "a picture after it", {}, recipe), "");
  EXPECT_EQ(tell(set, "a picture after it"), "");
  EXPECT_EQ(set.started(), 2U);
}

TEST(Isolate, AResultThatIsTooLargeFails) {
  if (kSanitized) GTEST_SKIP() << "a gigabyte under a sanitizer";
  DecoderSet set(hostile());
  Recipe recipe;
  recipe.limits.max_output_pixels = 1000;
  recipe.limits.max_pixels = 200'000'000;  // memory enough
  EXPECT_TRUE(died(tell(set, "large result", {}, recipe), "SIGXFSZ"));
  EXPECT_EQ(tell(set, "a picture after it"), "");
}

// ---- ends that were asked for -------------------------------------------------------------------------------------

TEST(Isolate, AStopFreesTheCallerSoon) {
  DecoderSet set(hostile());
  PlainWork work;
  std::thread stopper([&] {
    EXPECT_GT(busy_child(), 0);
    work.request_stop();
  });
  const auto result = send(set, "loop", Stop(&work));
  stopper.join();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kStopped);
  EXPECT_EQ(tell(set, "a picture after it"), "");
  EXPECT_EQ(zombies(), 0U);
}

TEST(Isolate, ADeadlineEndsAPictureThatDoesNotListen) {
  DecoderSet set(hostile());
  const auto result = send(set, "loop", Stop(nullptr, runtime::now_ns() + 100'000'000));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(tell(set, "a picture after it"), "");
}

TEST(Isolate, APictureThatKnowsItsDeadlineLeavesTheDecoderAlive) {
  Options options = hostile();
  DecoderSet set(options);
  const auto result = send(set, "until the deadline", Stop(nullptr, runtime::now_ns() + 100'000'000));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(tell(set, "a picture after it"), "");
}

// ---- no decoder ---------------------------------------------------------------------------------------------------

TEST(Isolate, AProgramThatIsNotThereIsSaidToBeMissing) {
  Options options;
  options.program = "/nowhere/offloop-decoder";
  DecoderSet set(options);
  const auto result = send(set, "picture");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kIo);
  EXPECT_EQ(result.error().system, ENOENT);
  EXPECT_EQ(result.error().context, "/nowhere/offloop-decoder");
}

TEST(Isolate, AProgramThatIsNoDecoderIsSaidToBeNone) {
  for (const char* program : {"/bin/true", "/bin/false"}) {
    Options options;
    options.program = program;
    DecoderSet set(options);
    const std::string said = tell(set, "picture");
    EXPECT_TRUE(said.starts_with("Io: the decoder program for isolate=True ended before it was ready: exit code "))
        << said;
  }
  EXPECT_EQ(zombies(), 0U);
}

}  // namespace
}  // namespace offloop::image::isolate
