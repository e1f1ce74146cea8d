// Threads that cannot be started. pthread_create is this program's own here: it fails when it is told to.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>

#include "offloop/runtime/operation.h"
#include "offloop/runtime/pool.h"
#include "support/child.h"
#include "support/gate.h"
#include "support/test_pool.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OFFLOOP_OWN_PTHREAD_CREATE 0  // the sanitizer has one of its own
#else
#define OFFLOOP_OWN_PTHREAD_CREATE 1
#endif

namespace {

std::atomic<int> g_may_start{1 << 30};  ///< how many more threads
offloop::testing::Gate* g_starting = nullptr;
offloop::testing::Gate* g_go_on = nullptr;

}  // namespace

#if OFFLOOP_OWN_PTHREAD_CREATE
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                              void* argument) {
  if (g_may_start.fetch_sub(1) <= 0) {
    if (g_starting != nullptr) {
      g_starting->open();
      g_go_on->wait();
    }
    return EAGAIN;
  }
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static std::atomic<Create> real{nullptr};
  if (real.load() == nullptr) real.store(reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create")));
  return real.load()(thread, attributes, run, argument);
}
#endif

namespace offloop::runtime {
namespace {

class PoolStart : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!OFFLOOP_OWN_PTHREAD_CREATE) GTEST_SKIP() << "the sanitizer's pthread_create cannot be made to fail";
  }
  void TearDown() override { g_may_start = 1 << 30; }
};

/// Each case in a child: its pool has not been started yet.
std::string in_fresh_process(int (*body)()) {
  return testing::run_in_child(body);
}

TEST_F(PoolStart, WithoutAnyThreadASubmitFailsAndALaterOneStartsThem) {
  EXPECT_EQ(in_fresh_process([] {
              PoolOptions options;
              options.threads = 2;
              if (!Pool::configure(options).ok()) return 1;
              g_may_start = 0;
              for (int i = 0; i < 100; ++i) {
                const Result<int> refused = spawn([](StopToken) { return 1; }).get();
                if (refused.ok() || refused.error().code != ErrorCode::kOutOfMemory) return 2;
              }
              if (Pool::instance_if_started() != nullptr) return 3;
              g_may_start = 1 << 30;
              if (spawn([](StopToken) { return 7; }).get().value() != 7) return 4;
              return testing::until_worker_threads(2) ? 0 : 5;
            }),
            "exit 0");
}

TEST_F(PoolStart, WithFewerThreadsThanAskedForItWorksAndFillsUpLater) {
  EXPECT_EQ(in_fresh_process([] {
              PoolOptions options;
              options.threads = 3;
              if (!Pool::configure(options).ok()) return 1;
              g_may_start = 1;
              for (int i = 0; i < 1000; ++i)
                if (spawn([i](StopToken) { return i; }).get().value() != i) return 2;
              if (testing::worker_threads() != 1) return 3;
              g_may_start = 1 << 30;
              if (!testing::resize_pool(3)) return 4;
              for (int i = 0; i < 1000; ++i)
                if (spawn([i](StopToken) { return i; }).get().value() != i) return 5;
              return 0;
            }),
            "exit 0");
}

// A worker that is being started is counted as one that will look at the queue. A submitter that has counted on it must
// not be left alone when the start fails: hand-over 4.
TEST_F(PoolStart, AWorkSubmittedWhileAThreadFailsToStartWakesAnother) {
  EXPECT_EQ(in_fresh_process([] {
              if (!testing::resize_pool(1)) return 1;
              while (Pool::instance()->stats().sleeping != 1) std::this_thread::yield();
              static testing::Gate starting, go_on;
              g_starting = &starting;
              g_go_on = &go_on;
              std::thread grow([] {
                g_may_start = 0;
                PoolOptions options;
                options.threads = 2;
                (void)Pool::configure(options);
              });
              starting.wait();
              testing::TestGroup group(1, 0, testing::run_one_quantum);
              testing::TestSink sink;
              testing::Works works(1, group, sink);
              if (!works.submit_all()) return 2;
              go_on.open();
              grow.join();
              return sink.wait_for(1) ? 0 : 3;
            }),
            "exit 0");
}

}  // namespace
}  // namespace offloop::runtime
