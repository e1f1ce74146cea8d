// What the runtime's protocols are made of. They are templates over it, so that tests/cpp/model can run the very same
// code on atomics that return every stale value which C++20 allows, in every order of steps.
#pragma once

#include <atomic>
#include <mutex>

namespace offloop::runtime {

/// The real thing.
struct StdAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
  /// A variable that is not atomic; the model finds two unordered accesses to it.
  template <class T>
  using Plain = T;
  using Mutex = std::mutex;
};

}  // namespace offloop::runtime
