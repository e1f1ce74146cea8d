#include "fetch/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

#include "fetch/resolver.h"

namespace offloop::fetch {
namespace {

constexpr auto kWaitForMemory = std::chrono::milliseconds(1);

}  // namespace

Mailbox::Mailbox() {
  commands_.reserve(kRoom);
  event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

Mailbox::~Mailbox() {
  if (event_fd_ >= 0) ::close(event_fd_);
}

/// False when the box is closed. Gives the lock back while it waits for memory.
bool Mailbox::make_room(std::unique_lock<std::mutex>& lock, std::size_t more) noexcept {
  while (!closed_) {
    try {
      const std::size_t needed = commands_.size() + more;
      if (needed > commands_.capacity()) commands_.reserve(std::max(needed, 2 * commands_.capacity()));
      return true;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): once more, a little later
    }
    lock.unlock();
    std::this_thread::sleep_for(kWaitForMemory);
    lock.lock();
  }
  return false;
}

void Mailbox::post(Command command) noexcept {
  std::unique_lock lock(mutex_);
  if (!make_room(lock, 1)) return;
  const bool was_empty = commands_.empty();
  commands_.push_back(std::move(command));
  lock.unlock();
  if (was_empty) wake();
}

void Mailbox::post_all(Command::Kind kind, const Burst& burst, unsigned io) noexcept {
  std::unique_lock lock(mutex_);
  if (!make_room(lock, burst.size())) return;
  const bool was_empty = commands_.empty();
  for (const Burst::Entry& entry : burst) {
    if (entry.io == io) commands_.push_back({kind, entry.id, nullptr});
  }
  const bool is_empty = commands_.empty();
  lock.unlock();
  if (was_empty && !is_empty) wake();
}

void post_all(const std::vector<std::shared_ptr<Mailbox>>& mailboxes, Command::Kind kind, const Burst& burst) noexcept {
  if (burst.size() == 1) return mailboxes[burst.begin()->io]->post({kind, burst.begin()->id, nullptr});
  for (unsigned io = 0; io < mailboxes.size(); ++io) {
    if (std::any_of(burst.begin(), burst.end(), [io](const Burst::Entry& entry) { return entry.io == io; })) {
      mailboxes[io]->post_all(kind, burst, io);
    }
  }
}

void Mailbox::drain(std::vector<Command>& out) {
  const std::lock_guard lock(mutex_);
  out.swap(commands_);
}

bool Mailbox::pending() {
  const std::lock_guard lock(mutex_);
  return !commands_.empty();
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  commands_.clear();
}

void Mailbox::wake() {
  if (pthread_equal(reader_.load(std::memory_order_relaxed), pthread_self()) != 0) return;
  const std::uint64_t one = 1;
  // Cannot fail in a way that matters: EAGAIN means that the counter is full, so the reader is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
}

}  // namespace offloop::fetch
