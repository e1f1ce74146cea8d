// What the protocols are instantiated with in a model, in place of std::atomic, std::mutex and the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "model/explorer/explorer.h"

namespace offloop::model {

template <class T>
std::uint64_t to_bits(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<std::uintptr_t>(value);
  } else {
    return static_cast<std::uint64_t>(value);
  }
}

template <class T>
T from_bits(std::uint64_t bits) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(static_cast<std::uintptr_t>(bits));
  } else {
    return static_cast<T>(bits);
  }
}

const char* name_of(std::memory_order order);

/// Untyped half of Atomic<T>: each call is one step.
class AtomicBits {
 public:
  explicit AtomicBits(std::uint64_t value);
  ~AtomicBits();
  AtomicBits(const AtomicBits&) = delete;
  AtomicBits& operator=(const AtomicBits&) = delete;

  std::uint64_t load(std::memory_order order) const;
  void store(std::uint64_t value, std::memory_order order);
  template <class F>
  std::uint64_t modify(const char* what, std::memory_order order, F change) {
    Explorer& e = begin();
    const std::uint64_t before = newest();
    const std::uint64_t after = change(before);
    e.memory.replace(e.self(), location_, after, order);
    e.say([&] { return describe(what, order, before) + " -> " + std::to_string(after); });
    e.memory.tick(e.self());
    return before;
  }
  /// Fails with any value but `expected` that a load could return, not only with the newest.
  bool compare_exchange(std::uint64_t& expected, std::uint64_t desired, std::memory_order success,
                        std::memory_order failure);
  [[nodiscard]] std::uint64_t newest() const;
  [[nodiscard]] unsigned location() const { return location_; }
  void name(const char* name) { Explorer::current().memory.locations[location_].name = name; }

 private:
  Explorer& begin() const;
  [[nodiscard]] std::string describe(const char* what, std::memory_order order, std::uint64_t value) const;
  unsigned location_;
};

/// What the calling thread has loaded last: what its loop waits for.
struct LastLoad {
  unsigned location = 0;
  unsigned index = 0;
};
LastLoad& last_load(unsigned thread);

template <class T>
class Atomic {
 public:
  Atomic() : Atomic(T{}) {}
  Atomic(T value) : bits_(to_bits(value)) {}  // NOLINT(google-explicit-constructor): as std::atomic has it
  T load(std::memory_order order) const { return from_bits<T>(bits_.load(order)); }
  void store(T value, std::memory_order order) { bits_.store(to_bits(value), order); }
  T exchange(T value, std::memory_order order) {
    return from_bits<T>(bits_.modify("exchange", order, [&](std::uint64_t) { return to_bits(value); }));
  }
  T fetch_add(T n, std::memory_order order) {
    return from_bits<T>(
        bits_.modify("add", order, [&](std::uint64_t v) { return to_bits(static_cast<T>(from_bits<T>(v) + n)); }));
  }
  T fetch_sub(T n, std::memory_order order) {
    return from_bits<T>(
        bits_.modify("sub", order, [&](std::uint64_t v) { return to_bits(static_cast<T>(from_bits<T>(v) - n)); }));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure) {
    std::uint64_t seen = to_bits(expected);
    const bool done = bits_.compare_exchange(seen, to_bits(desired), success, failure);
    expected = from_bits<T>(seen);
    return done;
  }
  AtomicBits& bits() { return bits_; }

 private:
  AtomicBits bits_;
};

/// Who has touched something that is not atomic: two accesses, one of them a write, must be ordered by happens-before.
class Access {
 public:
  explicit Access(const char* what) : what_(what) {}
  void read() const;
  void write();

 private:
  void check(unsigned other, std::uint16_t when, const char* kind) const;
  const char* what_;
  unsigned writer_ = 0;
  std::uint16_t written_ = 0;
  mutable std::array<std::uint16_t, kMaxThreads> reads_{};
};

/// An ordinary variable.
template <class T>
class Plain {
 public:
  Plain(T value = T{}) : value_(value) {}  // NOLINT(google-explicit-constructor): as T has it
  Plain(const Plain&) = delete;
  Plain& operator=(const Plain& other) { return *this = static_cast<T>(other); }
  Plain& operator=(T value) {
    access_.write();
    value_ = value;
    return *this;
  }
  operator T() const {  // NOLINT(google-explicit-constructor)
    access_.read();
    return value_;
  }

 private:
  T value_;
  Access access_{"a plain variable"};
};

class Mutex final : public Object {
 public:
  void lock();
  void unlock();
  [[nodiscard]] bool ready(unsigned) const override { return owner_ == 0; }
  [[nodiscard]] std::uint64_t hash() const override { return mix(owner_, last_); }

 private:
  unsigned owner_ = 0;
  std::uint64_t last_ = 0;  ///< which unlock came last
  Knowledge knowledge_;
};

/// A counter of the kernel's, as an eventfd is one. What the kernel's own locks order is not counted on: it makes
/// nothing happen before anything.
class EventFd final : public Object {
 public:
  void write();
  std::uint64_t read();
  void poll();  ///< until it is readable
  void close();
  [[nodiscard]] bool ready(unsigned) const override { return count_ != 0; }
  [[nodiscard]] std::uint64_t hash() const override { return mix(count_, closed_ ? 2 : 1); }

 private:
  void use(const char* what);
  std::uint64_t count_ = 0;
  bool closed_ = false;
  bool inherited_ = false;
  Access access_{"the descriptor"};
};

/// futex(2) for one sleeper. It orders nothing, either.
class FutexSleeper final : public Object {
 public:
  [[nodiscard]] bool ready(unsigned) const override { return !asleep_; }
  [[nodiscard]] std::uint64_t hash() const override { return asleep_ ? 2 : 1; }
  void wait(AtomicBits& word, std::uint64_t expected);
  void wake();

 private:
  bool asleep_ = false;
};

/// The policy, see include/offloop/runtime/atomics.h.
struct ModelAtomics {
  template <class T>
  using Atomic = model::Atomic<T>;
  template <class T>
  using Plain = model::Plain<T>;
  using Mutex = model::Mutex;
};

/// For loops that look again until another thread has done something: waits until the atomic that the caller has loaded
/// last has a newer value.
void yield();

}  // namespace offloop::model
