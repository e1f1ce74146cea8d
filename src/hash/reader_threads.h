// Reader threads: they block in the disk so that workers never do. Any reader serves any file, a block at a time; a
// file has at most a few blocks on their way, so a fast disk does not fill the memory and a slow one does not hold a
// worker. What has no data yet waits without a reader.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "hash/file_waiter.h"
#include "offloop/hash/file_reader.h"

namespace offloop::hash {

/// The process's readers. Made on first use, never freed; made anew after a fork.
class ReaderThreads final : private FileWaiter::Owner {
 public:
  /// Null when no thread or no memory can be had. [any thread]
  static ReaderThreads* instance() noexcept;
  /// Null when this process has not used them. [any thread]
  static ReaderThreads* instance_if_started() noexcept;

  /// A new file: it waits while kMaxOpen others are open. [any thread]
  void add(FileJob* job) noexcept;
  /// An open file wants its next block. [any thread]
  void requeue(FileJob* job) noexcept;
  /// An open file has no data yet: it comes back when it has, or is to stop. False: errno says why. [reader]
  bool wait_for_data(FileJob* job) noexcept;
  /// A file that may be waiting for data is to stop. [any thread]
  void stop_requested() noexcept { waiter_.look(); }
  /// An open file has ended: its place goes to one that waits. [any thread]
  void left() noexcept;

 private:
  // Enough to keep 16 lanes of several workers full, few enough for the usual limit of 1024 descriptors.
  static constexpr unsigned kMaxOpen = 64;
  // Files that wait for data keep no place among those, so that they stop no other, up to this number.
  static constexpr unsigned kMaxIdle = FileWaiter::kMost - kMaxOpen;
  // Blocked readers are parallel requests to the disk; cached files need only as many as there are cores to copy.
  static constexpr unsigned kReaders = 4;

  struct Queue {
    FileJob* first = nullptr;
    FileJob* last = nullptr;
    void push(FileJob* job) noexcept;
    FileJob* pop() noexcept;
  };

  ReaderThreads() noexcept : waiter_(*this) {}
  bool start() noexcept;
  void run() noexcept;
  void wake() noexcept;
  void ready(FileJob* job) noexcept final;  // [waiter]
  bool give_up_place() noexcept;            // under mutex_
  void take_place(FileJob* job) noexcept;

  std::mutex mutex_;  // guards the queues and counts
  Queue ready_;
  Queue waiting_;
  unsigned open_ = 0;
  unsigned idle_ = 0;
  std::atomic<std::uint32_t> work_{0};  ///< futex word: changes whenever there may be something to do
  std::atomic<std::uint32_t> sleeping_{0};
  FileWaiter waiter_;
};

/// Starts a detached thread with all signals blocked: the program's handlers run on its own. An errno, or 0.
int start_reader_thread(const char* name, void* (*entry)(void*), void* argument) noexcept;

}  // namespace offloop::hash
