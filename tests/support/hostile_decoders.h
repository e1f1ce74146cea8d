// A set of decoders that do what a picture tells them to (tests/cpp/image/hostile_decoder.cpp), and what came of it in
// words.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "image/isolate.h"
#include "image/isolate/decoder_set.h"
#include "offloop/runtime/work.h"
#include "support/own_processes.h"
#include "support/sanitizer_options.h"

namespace offloop::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;  // a decoder starts in tens of milliseconds, and has no limit of its memory
#else
inline constexpr bool kSanitized = false;
#endif

/// A picture as far as its first bytes say.
inline std::vector<std::uint8_t> picture(const std::string& command) {
  const std::string bytes = "\xff\xd8\xff" + command + '\0';
  return {bytes.begin(), bytes.end()};
}

inline image::isolate::Options hostile() {
  image::isolate::Options options;
  options.program = OFFLOOP_HOSTILE_DECODER;
  return options;
}

inline Result<image::Processed> send(image::isolate::DecoderSet& set, const std::string& command,
                                     const image::Stop& stop = {}, const image::Recipe& recipe = {}) {
  return set.process(picture(command), recipe, stop);
}

/// "" when the picture came back whole, else the error's name and words.
inline std::string outcome(const Result<image::Processed>& result, const std::string& command) {
  if (!result.ok()) return std::string(error_code_name(result.error().code)) + ": " + result.error().message;
  return result.value().data == picture(command) ? "" : "another picture's bytes";
}

inline std::string tell(image::isolate::DecoderSet& set, const std::string& command, const image::Stop& stop = {},
                        const image::Recipe& recipe = {}) {
  return outcome(send(set, command, stop, recipe), command);
}

/// With the process-wide set, for which OFFLOOP_DECODER must be set.
inline std::string isolated(const std::string& command) {
  return outcome(image::isolated_process(picture(command), {}, {}), command);
}

inline ::testing::AssertionResult died(const std::string& said, const std::string& how) {
  const std::string expected = "DecoderCrash: the isolated decoder died of this picture: " + how;
  if (said.starts_with(expected)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << said << "\nexpected: " << expected;
}

/// Far more CPU time than a decoder uses to start.
inline constexpr std::int64_t kBusyNs = kSanitized ? 300'000'000 : 60'000'000;

/// A child of this process that has used more: a decoder in the midst of a picture. -1 when there never is one.
inline pid_t busy_child() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(50);
  while (std::chrono::steady_clock::now() < until) {
    for (const pid_t pid : pidfd_processes()) {
      clockid_t clock{};
      timespec used{};
      if (::clock_getcpuclockid(pid, &clock) == 0 && ::clock_gettime(clock, &used) == 0 &&
          used.tv_sec * 1'000'000'000 + used.tv_nsec > kBusyNs)
        return pid;
    }
    ::sched_yield();
  }
  return -1;
}

struct PlainWork : runtime::Work {};

}  // namespace offloop::testing
