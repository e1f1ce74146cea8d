// Runs an operation again and again, and lets another one of its allocations fail each time. Include in one file of a
// test program (see failing_malloc.h).
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <new>
#include <string>

#include "offloop/base/result.h"
#include "offloop/runtime/pool.h"
#include "support/failing_malloc.h"

namespace offloop::testing {

/// How an operation ended: its digest in hexadecimal, or the name of its error.
template <class Start>
std::string outcome_of(Start start) {
  try {
    auto result = start().get();
    if (!result.ok()) {
      const Error& error = result.error();  // in words for who reads why a test fails
      if (error.code != ErrorCode::kOutOfMemory) std::fprintf(stderr, "%s\n", error.message.c_str());
      return error_code_name(error.code);
    }
    if constexpr (requires { result.value().digest; }) {
      return result.value().digest.hex();
    } else {
      return result.value().hex();
    }
  } catch (const std::bad_alloc&) {  // thrown by the call itself: nothing was started
    return "OutOfMemory";
  }
}

/// Nobody allocates or frees any more. Frees of other threads come a moment after an operation's end.
inline long live_at_rest() {
  long before = -1;
  for (int same = 0; same < 3;) {
    const long now = g_malloc.live.load();
    same = now == before ? same + 1 : 0;
    before = now;
    usleep(500);
  }
  return before;
}

/// Lets each allocation of `run` fail in turn. It gives `right` or "OutOfMemory", and `right` again as soon as there is
/// memory. Returns how many allocations there were.
inline long sweep(const std::function<std::string()>& run, const std::string& right, bool forever) {
  const char* also = forever ? " and all after it" : "";
  long n = 1;
  for (long failed = 1; failed != 0 && n < 5000; ++n) {
    g_malloc.arm(n, forever);
    const std::string got = run();
    failed = g_malloc.disarm();
    EXPECT_TRUE(got == right || got == "OutOfMemory") << got << " at allocation " << n << also;
    EXPECT_EQ(run(), right) << "after allocation " << n << also;
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_LT(n, 5000);
  return n - 2;
}

/// The same, once and from each on, as often as it takes to see that nothing is lost: what threads and libraries make
/// once and keep ends, a leak goes on.
inline void fail_every_allocation(const std::function<std::string()>& run, const std::string& right) {
  if (!OFFLOOP_CAN_FAIL_MALLOC) GTEST_SKIP() << "the sanitizer has the allocator";
  runtime::PoolOptions one;
  one.threads = 1;
  ASSERT_TRUE(runtime::Pool::configure(one).ok());
  for (int i = 0; i < 3; ++i) ASSERT_EQ(run(), right);
  for (const bool forever : {false, true}) {
    long before = 0;
    long after = live_at_rest();
    for (int round = 0; round == 0 || after > before; ++round) {
      ASSERT_LT(round, 12) << "memory is lost" << (forever ? " when all allocations fail" : "");
      const long allocations = sweep(run, right, forever);
      if (::testing::Test::HasFailure()) return;
      EXPECT_GT(allocations, 0);
      before = after;
      after = live_at_rest();
    }
  }
}

/// For what a process makes once: each time in a child, in which nothing of it has been made. `run` has more than
/// `at_least` allocations.
inline void fail_every_allocation_of_a_process(const std::function<std::string()>& run, const std::string& right,
                                               long at_least) {
  if (!OFFLOOP_CAN_FAIL_MALLOC) GTEST_SKIP() << "the sanitizer has the allocator";
  for (const bool forever : {false, true}) {
    const char* also = forever ? " and all after it" : "";
    long n = 1;
    for (int end = 0; end == 0; ++n) {
      ASSERT_LT(n, 5000);
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        alarm(60);
        g_malloc.arm(n, forever);
        const std::string got = run();
        const long failed = g_malloc.disarm();
        if (got != right && got != "OutOfMemory") _exit(2);
        if (run() != right) _exit(3);
        _exit(failed != 0 ? 0 : 1);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status) << " at allocation " << n << also;
      end = WEXITSTATUS(status);
      ASSERT_LE(end, 1) << (end == 2 ? "a wrong end" : "not usable afterwards") << " at allocation " << n << also;
    }
    EXPECT_GT(n, at_least);
  }
}

}  // namespace offloop::testing
