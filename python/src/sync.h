// What guards state when several threads run Python at the same time, as in a free-threaded interpreter. Under the GIL
// all of this is nothing: Shared is a plain variable, Locked and Mutex are empty. The rules are in
// docs/design/bridge.md, "Without the GIL".
#pragma once

#include "python.h"

#ifdef Py_GIL_DISABLED
#include <atomic>
#endif

namespace offloop::python {

#ifdef Py_GIL_DISABLED

inline constexpr bool kFreeThreaded = true;

/// A variable that several threads read and write: each access is atomic, a read sees what was written before the
/// write.
template <class T>
class Shared {
 public:
  Shared(T value = T{}) noexcept : value_(value) {}
  Shared& operator=(T value) noexcept {
    value_.store(value, std::memory_order_release);
    return *this;
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  operator T() const noexcept { return value_.load(std::memory_order_acquire); }
  T exchange(T value) noexcept { return value_.exchange(value, std::memory_order_acq_rel); }
  void operator++() noexcept { value_.fetch_add(1, std::memory_order_acq_rel); }
  void operator--() noexcept { value_.fetch_sub(1, std::memory_order_acq_rel); }

 private:
  std::atomic<T> value_;
};

/// Holds an object's own lock, as Python's types do: given up while the thread waits for anything, and therefore no
/// protection across a call that may run Python code. Look again after such a call, as with the GIL.
class Locked {
 public:
  explicit Locked(PyObject* object) noexcept { PyCriticalSection_Begin(&section_, object); }
  ~Locked() { PyCriticalSection_End(&section_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  PyCriticalSection section_;
};

/// For a few instructions that call nothing of Python's. Never while another one is held.
class Mutex {
 public:
  void lock() noexcept { PyMutex_Lock(&mutex_); }
  void unlock() noexcept { PyMutex_Unlock(&mutex_); }

 private:
  PyMutex mutex_{};
};

#else

inline constexpr bool kFreeThreaded = false;

template <class T>
class Shared {
 public:
  Shared(T value = T{}) noexcept : value_(value) {}
  Shared& operator=(T value) noexcept {
    value_ = value;
    return *this;
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  operator T() const noexcept { return value_; }
  T exchange(T value) noexcept { return std::exchange(value_, value); }
  void operator++() noexcept { ++value_; }
  void operator--() noexcept { --value_; }

 private:
  T value_;
};

class Locked {
 public:
  explicit Locked(PyObject*) noexcept {}
  ~Locked() {}  // NOLINT: a destructor of its own, so that an unused lock is not an unused variable
};

class Mutex {
 public:
  void lock() noexcept {}
  void unlock() noexcept {}
};

#endif

/// Holds a Mutex for a scope.
class Guard {
 public:
  explicit Guard(Mutex& mutex) noexcept : mutex_(mutex) { mutex_.lock(); }
  ~Guard() { mutex_.unlock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace offloop::python
