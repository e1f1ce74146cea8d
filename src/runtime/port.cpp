#include "offloop/runtime/port.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "offloop/base/counters.h"
#include "offloop/runtime/fork.h"

namespace offloop::runtime {

void PortSystem::signal(int fd) noexcept {
  const std::uint64_t one = 1;
  // EAGAIN (the counter is at its maximum) means that the fd is readable already; EINTR cannot happen on a non-blocking
  // eventfd.
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

void PortSystem::clear(int fd) noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got =
      ::read(fd, &count, sizeof count);  // EAGAIN: a stale reader or a rearm; look all the same
}

void PortSystem::close(int fd) noexcept {
  ::close(fd);
}

std::uint32_t PortSystem::fork_generation() noexcept {
  return runtime::fork_generation();
}

void PortSystem::yield() noexcept {
  ::sched_yield();
}

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

Port::Port(int fd, Orphaned orphaned) noexcept : protocol_(fd), orphaned_(orphaned) {
  count_made(Counted::kPort);
}

Port::~Port() {
  count_freed(Counted::kPort);
}

void Port::accept(PortItem* first, PortItem* last) noexcept {
  protocol_.push(first, last, [this]() noexcept {
    if (orphaned_ != nullptr) orphaned_(this);
  });
}

PortItem* Port::drain() noexcept {
  return protocol_.drain();
}

void Port::rearm() noexcept {
  protocol_.rearm();
}

void Port::close() noexcept {
  protocol_.close();
}

void Port::unref() noexcept {
  if (protocol_.unref()) delete this;
}

}  // namespace offloop::runtime
