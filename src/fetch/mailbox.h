// What other threads ask of one I/O thread.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "offloop/fetch/fetcher.h"

namespace offloop::fetch {

struct Resolution;

struct Command {
  enum class Kind : std::uint8_t { kStart, kCancel, kResume, kResolved, kStop };
  Kind kind = Kind::kStop;
  TransferId id = 0;
  std::shared_ptr<const Resolution> resolution;  ///< kResolved only
};

/// Many writers, one reader. The descriptor is written once per burst: only by the post that finds the box empty, and
/// not at all by the reader's own thread, which looks into the box before it sleeps.
class Mailbox {
 public:
  /// Takes the descriptor; -1 in tests that never sleep on it.
  explicit Mailbox(int event_fd) noexcept : event_fd_(event_fd) {}
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// False when the box is closed: the command is dropped. [any thread]
  bool post(Command command);
  bool post_all(std::vector<Command> commands);

  /// Swaps what has arrived into `out`, which must be empty. [I/O thread]
  void drain(std::vector<Command>& out);

  /// Whether something waits to be drained. [I/O thread]
  bool pending();

  /// Takes no more. [I/O thread]
  void close();

  /// Makes the calling thread the reader, whose own posts need no wake. [I/O thread]
  void set_reader() noexcept { reader_.store(pthread_self(), std::memory_order_relaxed); }

  int event_fd() const noexcept { return event_fd_; }

 private:
  void wake();

  const int event_fd_;
  std::atomic<pthread_t> reader_{};
  std::mutex mutex_;
  std::vector<Command> commands_;  // guarded by mutex_
  bool closed_ = false;            // guarded by mutex_
};

}  // namespace offloop::fetch
