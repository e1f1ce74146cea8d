// What other threads ask of one I/O thread.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
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

/// Some transfers, each with the I/O thread that is to be told about it. By id: a cancel may overtake a start. Of fixed
/// size, so that starts and ends need no memory.
class Burst {
 public:
  struct Entry {
    TransferId id;
    unsigned io;
  };
  void add(TransferId id, unsigned io) noexcept { entries_[size_++] = {id, io}; }  ///< not when full()
  void clear() noexcept { size_ = 0; }
  [[nodiscard]] bool full() const noexcept { return size_ == kMost; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const Entry* begin() const noexcept { return entries_.data(); }
  [[nodiscard]] const Entry* end() const noexcept { return entries_.data() + size_; }

 private:
  static constexpr std::size_t kMost = 64;
  std::size_t size_ = 0;
  std::array<Entry, kMost> entries_;  // NOLINT(cppcoreguidelines-pro-type-member-init): the first size_ count
};

/// Many writers, one reader. The descriptor is written once per burst: only by the post that finds the box empty, and
/// not at all by the reader's own thread, which looks into the box before it sleeps.
class Mailbox {
 public:
  /// Without a descriptor, event_fd() is -1 and errno says why.
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// Room that is there from the beginning, so that a few commands can be posted when memory is out.
  static constexpr std::size_t kRoom = 256;

  /// A closed box drops the command. Nothing else is ever lost: without memory for one more it waits until there is
  /// some. [any thread]
  void post(Command command) noexcept;

  /// One for each transfer of the burst that is `io`'s, with one lock and at most one wake. [any thread]
  void post_all(Command::Kind kind, const Burst& burst, unsigned io) noexcept;

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
  bool make_room(std::unique_lock<std::mutex>& lock, std::size_t more) noexcept;
  void wake();

  int event_fd_ = -1;  // constant once made
  std::atomic<pthread_t> reader_{};
  std::mutex mutex_;
  std::vector<Command> commands_;  // guarded by mutex_
  bool closed_ = false;            // guarded by mutex_
};

/// post_all() for every I/O thread. [any thread]
void post_all(const std::vector<std::shared_ptr<Mailbox>>& mailboxes, Command::Kind kind, const Burst& burst) noexcept;

}  // namespace offloop::fetch
