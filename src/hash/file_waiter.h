// One thread that waits for files which have no data yet (pipes, terminals), so that no reader blocks in them.
#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <mutex>

#include "offloop/hash/file_reader.h"

namespace offloop::hash {

/// Waits for many jobs at once. Its thread and its descriptor are made when the first job comes. Never freed.
class FileWaiter {
 public:
  /// The most jobs at a time; add() is not to be called for more.
  static constexpr unsigned kMost = 320;

  class Owner {
   public:
    /// The job's file can be read without blocking, or the job is to stop: read_block() finds out which. [waiter]
    virtual void ready(FileJob* job) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  explicit FileWaiter(Owner& owner) noexcept : owner_(owner) {}

  /// Takes the job until ready(). False: there is no thread or no descriptor to wait with; errno says why. [reader]
  bool add(FileJob* job) noexcept;
  /// A job was told to stop. [any thread]
  void look() noexcept;
  /// In a forked child: closes the copy of what the parent's thread is woken by. [any thread]
  void close_inherited() noexcept;

 private:
  bool start() noexcept;  // under mutex_
  void run() noexcept;
  void take_new() noexcept;
  void pass_on(unsigned index) noexcept;

  Owner& owner_;
  std::mutex mutex_;  // guards new_, and that only one thread is started
  FileJob* new_ = nullptr;
  std::atomic<int> wake_fd_{-1};  ///< an eventfd

  // Of the waiter's thread alone. What is polled is one further: first comes the eventfd.
  unsigned count_ = 0;
  std::array<FileJob*, kMost> jobs_{};
  std::array<pollfd, kMost + 1> polled_{};
};

}  // namespace offloop::hash
