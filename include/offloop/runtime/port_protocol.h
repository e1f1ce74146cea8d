// The protocol of a port without the port: who pushes, who is woken, when the eventfd may be closed. port.h says what
// it is for.
//
// push links the chain by a release CAS on `head_` and writes the eventfd if and only if the head was null; drain reads
// the eventfd first and takes the list by an acquire exchange second. There is no flag and no fence: a producer that
// finds a non-null head knows that its predecessor's write is still to be read, because the reader empties the fd
// before it empties the list.
//
// tests/cpp/model/port_model_test.cpp runs this code in every interleaving and with every stale value, and shows that
// each of the memory orders below, and the order of the steps, is needed.
#pragma once

#include <atomic>
#include <cstdint>

namespace offloop::runtime {

struct PortOrders {
  // Either close() sees a producer in `producers_` and waits for it, or the producer sees `closed_`: all four seq_cst.
  static constexpr auto kEnter = std::memory_order_seq_cst;
  static constexpr auto kSeeClosed = std::memory_order_seq_cst;
  static constexpr auto kClose = std::memory_order_seq_cst;
  static constexpr auto kAwaitProducers = std::memory_order_seq_cst;
  /// What a producer did with the port is over when close() or unref() sees the count at zero.
  static constexpr auto kLeave = std::memory_order_release;
  static constexpr auto kAwaitLastProducers = std::memory_order_acquire;
  /// What a producer wrote into its items is seen by who drains; CASes by others in between continue the release.
  static constexpr auto kLink = std::memory_order_release;
  static constexpr auto kTake = std::memory_order_acquire;
  /// What any holder did with the port happens before the last one ends it.
  static constexpr auto kDropReference = std::memory_order_acq_rel;
};

/// Outside has the system calls: signal(fd), clear(fd), close(fd), fork_generation(), yield().
template <class A, class Item, class Outside, class Orders = PortOrders>
class PortProtocol {
  template <class T>
  using Atomic = typename A::template Atomic<T>;

 public:
  explicit PortProtocol(int fd) noexcept : fd_(fd), generation_(Outside::fork_generation()) {}
  PortProtocol(const PortProtocol&) = delete;
  PortProtocol& operator=(const PortProtocol&) = delete;

  /// Pushes the chain first..last, newest first. orphaned() is called in place of the signal once the port is closed.
  /// [any thread]
  template <class Orphaned>
  void push(Item* first, Item* last, Orphaned orphaned) noexcept {
    enter();
    if (link(first, last)) announce(orphaned);
    leave();
  }

  /// Empties the eventfd, then takes everything, oldest first. [loop]
  Item* drain() noexcept {
    clear();
    return in_order(take());
  }

  /// [loop]
  void rearm() noexcept {
    if (!closed() && in_its_process()) Outside::signal(fd_);
  }

  /// Closes the fd once no producer can write to it. [loop]
  void close() noexcept {
    if (closed_.exchange(true, Orders::kClose)) return;
    if (in_its_process()) {
      while (producers_.load(Orders::kAwaitProducers) != 0) Outside::yield();  // at most one write(2) long
    }
    Outside::close(fd_);
    fd_ = -1;
  }

  void ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }

  /// True when it was the last reference: nobody uses the port any more and its memory may be freed. [any thread]
  [[nodiscard]] bool unref() noexcept {
    if (refs_.fetch_sub(1, Orders::kDropReference) != 1) return false;
    // A producer's item can have been delivered, and the last reference dropped with it, before the producer has left.
    if (in_its_process()) {
      while (producers_.load(Orders::kAwaitLastProducers) != 0) Outside::yield();
    }
    if (fd_ >= 0) Outside::close(fd_);
    return true;
  }

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }

 protected:  // the steps; a mutant of the model puts them in another order
  void enter() noexcept { producers_.fetch_add(1, Orders::kEnter); }
  void leave() noexcept { producers_.fetch_sub(1, Orders::kLeave); }

  /// Whether the list was empty.
  bool link(Item* first, Item* last) noexcept {
    Item* head = head_.load(std::memory_order_relaxed);
    do {
      last->next = head;
    } while (!head_.compare_exchange_weak(head, first, Orders::kLink, std::memory_order_relaxed));
    return head == nullptr;
  }

  template <class Orphaned>
  void announce(Orphaned orphaned) noexcept {
    if (closed_.load(Orders::kSeeClosed)) {
      orphaned();
    } else {
      Outside::signal(fd_);
    }
  }

  /// In a forked child the counter is still the parent's: to read it there would take the parent's wake away for good.
  void clear() noexcept {
    if (!closed() && in_its_process()) Outside::clear(fd_);
  }

  Item* take() noexcept { return head_.exchange(nullptr, Orders::kTake); }

  /// Chains are pushed newest first and each chain is linked newest first too: one reversal gives the order of ending.
  static Item* in_order(Item* newest) noexcept {
    Item* oldest = nullptr;
    while (newest != nullptr) {
      Item* next = newest->next;
      __builtin_prefetch(next, 1);  // written by another core a moment ago
      newest->next = oldest;
      oldest = newest;
      newest = next;
    }
    return oldest;
  }

  [[nodiscard]] bool in_its_process() const noexcept { return generation_ == Outside::fork_generation(); }

  alignas(64) Atomic<Item*> head_{nullptr};
  Atomic<int> producers_{0};  ///< threads inside push(): close() waits for them before it closes the fd
  Atomic<bool> closed_{false};
  Atomic<int> refs_{1};
  typename A::template Plain<int> fd_;
  const std::uint32_t generation_;  ///< fork_generation() when it was made
};

}  // namespace offloop::runtime
