#include "fetch/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <iterator>

#include "fetch/resolver.h"

namespace offloop::fetch {

Mailbox::~Mailbox() {
  if (event_fd_ >= 0) ::close(event_fd_);
}

bool Mailbox::post(Command command) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    const bool was_empty = commands_.empty();
    commands_.push_back(std::move(command));
    if (!was_empty) return true;
  }
  wake();
  return true;
}

bool Mailbox::post_all(std::vector<Command> commands) {
  if (commands.empty()) return true;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    const bool was_empty = commands_.empty();
    if (was_empty) {
      commands_ = std::move(commands);
    } else {
      commands_.insert(commands_.end(), std::make_move_iterator(commands.begin()),
                       std::make_move_iterator(commands.end()));
    }
    if (!was_empty) return true;
  }
  wake();
  return true;
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
  if (event_fd_ < 0 || pthread_equal(reader_.load(std::memory_order_relaxed), pthread_self()) != 0) return;
  const std::uint64_t one = 1;
  // Cannot fail in a way that matters: EAGAIN means that the counter is full, so the reader is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
}

}  // namespace offloop::fetch
