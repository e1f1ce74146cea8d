// Where finished operations of one event loop wait: a multi-producer list and an eventfd.
//
// Protocol (stressed in port_test.cpp; an interleaving model is still to be written): push links the chain by a release
// CAS on `head_` and writes the eventfd if and only if the head was null; drain reads the eventfd first and takes the
// list by an acquire exchange second. There is no flag and no fence: a producer that finds a non-null head knows that
// its predecessor's write is still to be read, because the reader empties the fd before it empties the list.
#pragma once

#include <atomic>
#include <cstdint>

#include "offloop/runtime/work.h"

namespace offloop::runtime {

class Port final : public Sink {
 public:
  /// Called instead of the eventfd write once the loop is gone, at most once for each time the list fills. It runs
  /// inside accept(), for which close() and the last unref() wait: it takes no lock that they are called under, and
  /// does neither. [any thread]
  using Orphaned = void (*)(Port*) noexcept;

  /// Null when no eventfd can be had (errno says why). The port starts with one reference.
  static Port* create(Orphaned orphaned) noexcept;

  /// The eventfd to watch for reading; -1 after close(). [loop]
  [[nodiscard]] int fd() const noexcept { return fd_; }

  void accept(PortItem* first, PortItem* last) noexcept override;  // [any thread]

  /// Empties the eventfd, then takes everything, oldest first. Null when nothing waits; the fd's count is not trusted.
  /// [loop]
  PortItem* drain() noexcept;
  /// Makes the loop call again: for a drain that stopped at its budget. [loop]
  void rearm() noexcept;

  /// From now on producers report to `orphaned`; the fd is closed as soon as no producer can be inside accept(). The
  /// caller drains once more afterwards. Only while nothing made before a fork is touched: in a forked child the fd is
  /// closed by number, nothing else. [loop, or under the lock of whoever owns the loop]
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }

  void ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept;
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }

 private:
  Port(int fd, Orphaned orphaned) noexcept;
  ~Port();

  alignas(64) std::atomic<PortItem*> head_{nullptr};
  std::atomic<int> producers_{0};  ///< threads inside accept(): close() waits for them before it closes the fd
  std::atomic<bool> closed_{false};
  std::atomic<int> refs_{1};
  int fd_;
  const std::uint32_t generation_;  ///< fork_generation() when it was made
  const Orphaned orphaned_;
};

}  // namespace offloop::runtime
