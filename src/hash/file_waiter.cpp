#include "hash/file_waiter.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "hash/reader_threads.h"
#include "offloop/runtime/port.h"

namespace offloop::hash {

using runtime::PortSystem;

bool FileWaiter::add(FileJob* job) noexcept {
  // Before the job can be seen by the thread: a stop that finds it false comes before the thread looks at the job.
  job->waiting_.store(true, std::memory_order_seq_cst);
  {
    const std::lock_guard lock(mutex_);
    if (wake_fd_.load(std::memory_order_relaxed) < 0 && !start()) {
      job->waiting_.store(false, std::memory_order_relaxed);
      return false;
    }
    job->next_ = new_;
    new_ = job;
  }
  look();
  return true;
}

void FileWaiter::look() noexcept {
  if (const int fd = wake_fd_.load(std::memory_order_acquire); fd >= 0) PortSystem::signal(fd);
}

void FileWaiter::close_inherited() noexcept {
  if (const int fd = wake_fd_.exchange(-1, std::memory_order_relaxed); fd >= 0) PortSystem::close(fd);
}

bool FileWaiter::start() noexcept {
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return false;
  polled_[0] = {fd, POLLIN, 0};
  const auto entry = [](void* self) -> void* {
    static_cast<FileWaiter*>(self)->run();
    return nullptr;
  };
  if (const int error = start_reader_thread("offloop-poll", entry, this); error != 0) {
    PortSystem::close(fd);
    errno = error;
    return false;
  }
  wake_fd_.store(fd, std::memory_order_release);
  return true;
}

void FileWaiter::run() noexcept {
  const int wake_fd = polled_[0].fd;
  while (true) {
    // In this order: who changes something after it was looked at here leaves the descriptor readable.
    PortSystem::clear(wake_fd);
    take_new();
    for (unsigned i = count_; i-- > 0;) {
      if (jobs_[i]->stop_.load(std::memory_order_seq_cst)) pass_on(i);
    }
    if (::poll(polled_.data(), count_ + 1, -1) < 0 && errno != EINTR) {
      // Fewer descriptors are allowed now than are waited for. The readers look at each, in a moment: they poll one.
      ::poll(polled_.data(), 1, 10);
      for (unsigned i = count_; i-- > 0;) pass_on(i);
      continue;
    }
    for (unsigned i = count_; i-- > 0;) {
      if (polled_[i + 1].revents != 0) pass_on(i);
    }
  }
}

void FileWaiter::take_new() noexcept {
  FileJob* job = nullptr;
  {
    const std::lock_guard lock(mutex_);
    job = new_;
    new_ = nullptr;
  }
  for (; job != nullptr; job = job->next_) {
    jobs_[count_] = job;
    polled_[++count_] = {job->fd_, POLLIN, 0};
  }
}

/// The last one comes to its place: whoever goes through all goes backwards.
void FileWaiter::pass_on(unsigned index) noexcept {
  FileJob* job = jobs_[index];
  jobs_[index] = jobs_[count_ - 1];
  polled_[index + 1] = polled_[count_];
  --count_;
  job->waiting_.store(false, std::memory_order_relaxed);
  owner_.ready(job);  // the job may be gone
}

}  // namespace offloop::hash
