// Where finished operations of one event loop wait: a multi-producer list and an eventfd. How they keep in step:
// port_protocol.h.
#pragma once

#include <cstdint>

#include "offloop/runtime/atomics.h"
#include "offloop/runtime/port_protocol.h"
#include "offloop/runtime/work.h"

namespace offloop::runtime {

/// The system calls of the protocol.
struct PortSystem {
  static void signal(int fd) noexcept;
  static void clear(int fd) noexcept;
  static void close(int fd) noexcept;
  static std::uint32_t fork_generation() noexcept;
  static void yield() noexcept;
};

class Port final : public Sink {
 public:
  /// Called instead of the eventfd write once the loop is gone, at most once for each time the list fills. It runs
  /// inside accept(), for which close() and the last unref() wait: it takes no lock that they are called under, and
  /// does neither. [any thread]
  using Orphaned = void (*)(Port*) noexcept;

  /// Null when no eventfd can be had (errno says why). The port starts with one reference.
  static Port* create(Orphaned orphaned) noexcept;

  /// The eventfd to watch for reading; -1 after close(). [loop]
  [[nodiscard]] int fd() const noexcept { return protocol_.fd(); }

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
  [[nodiscard]] bool closed() const noexcept { return protocol_.closed(); }

  void ref() noexcept { protocol_.ref(); }
  void unref() noexcept;
  [[nodiscard]] std::uint32_t generation() const noexcept { return protocol_.generation(); }

 private:
  Port(int fd, Orphaned orphaned) noexcept;
  ~Port();

  PortProtocol<StdAtomics, PortItem, PortSystem> protocol_;
  const Orphaned orphaned_;
};

}  // namespace offloop::runtime
