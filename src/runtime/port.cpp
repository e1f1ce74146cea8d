#include "offloop/runtime/port.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "offloop/base/counters.h"
#include "offloop/runtime/fork.h"

namespace offloop::runtime {
namespace {

void signal_fd(int fd) noexcept {
  const std::uint64_t one = 1;
  // EAGAIN (the counter is at its maximum) means that the fd is readable already; EINTR cannot happen on a non-blocking
  // eventfd.
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

}  // namespace

Port* Port::create(Orphaned orphaned) noexcept {
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return nullptr;
  Port* port = new (std::nothrow) Port(fd, orphaned);
  if (port == nullptr) {
    ::close(fd);
    errno = ENOMEM;
  }
  return port;
}

Port::Port(int fd, Orphaned orphaned) noexcept : fd_(fd), generation_(fork_generation()), orphaned_(orphaned) {
  count_made(Counted::kPort);
}

Port::~Port() {
  count_freed(Counted::kPort);
}

void Port::accept(PortItem* first, PortItem* last) noexcept {
  // seq_cst here and in close(): either close() sees this producer and waits, or this producer sees closed_.
  producers_.fetch_add(1, std::memory_order_seq_cst);
  PortItem* head = head_.load(std::memory_order_relaxed);
  do {
    last->next = head;
  } while (!head_.compare_exchange_weak(head, first, std::memory_order_acq_rel, std::memory_order_relaxed));
  if (head == nullptr) {
    if (closed_.load(std::memory_order_seq_cst)) {
      if (orphaned_ != nullptr) orphaned_(this);
    } else {
      signal_fd(fd_);
    }
  }
  // release: what this thread did with the port is over when close() or unref() sees the count at zero.
  producers_.fetch_sub(1, std::memory_order_release);
}

PortItem* Port::drain() noexcept {
  // In a forked child the counter is still the parent's: to read it there would take the parent's wake away for good.
  if (!closed() && generation_ == fork_generation()) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got =
        ::read(fd_, &count, sizeof count);  // EAGAIN: a stale reader or a rearm; look all the same
  }
  PortItem* newest = head_.exchange(nullptr, std::memory_order_acq_rel);
  // Chains are pushed newest first and each chain is linked newest first too: one reversal gives the order of ending.
  PortItem* oldest = nullptr;
  while (newest != nullptr) {
    PortItem* next = newest->next;
    __builtin_prefetch(next, 1);  // written by another core a moment ago
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  return oldest;
}

void Port::rearm() noexcept {
  if (!closed() && generation_ == fork_generation()) signal_fd(fd_);
}

void Port::close() noexcept {
  if (closed_.exchange(true, std::memory_order_seq_cst)) return;
  if (generation_ == fork_generation()) {
    // seq_cst: with an acquire load alone a producer that did not see closed_ could be missed.
    while (producers_.load(std::memory_order_seq_cst) != 0) ::sched_yield();  // at most one write(2) long
  }
  ::close(fd_);
  fd_ = -1;
}

void Port::unref() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (generation_ == fork_generation()) {
    while (producers_.load(std::memory_order_acquire) != 0) ::sched_yield();
  }
  if (fd_ >= 0) ::close(fd_);
  delete this;
}

}  // namespace offloop::runtime
