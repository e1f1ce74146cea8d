#include "fetch/socket_poll.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <new>

namespace offloop::fetch {
namespace {

/// Of a socket, never 0; 0 for what is none.
std::uint32_t socket_inode(int fd) noexcept {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) return 0;
  const auto inode = static_cast<std::uint32_t>(status.st_ino);
  return inode != 0 ? inode : 1;
}

epoll_event make_event(int fd, std::uint32_t events, std::uint32_t serial) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = std::uint64_t{serial} << 32 | static_cast<std::uint32_t>(fd);
  return event;
}

}  // namespace

DescriptorSet::DescriptorSet() noexcept
    : inodes_(static_cast<std::atomic<std::uint32_t>*>(std::calloc(kMax, sizeof *inodes_))) {}

DescriptorSet::~DescriptorSet() {
  std::free(inodes_);
}

void DescriptorSet::add(int fd) noexcept {
  if (fd >= 0 && fd < kMax && inodes_ != nullptr) inodes_[fd].store(socket_inode(fd), std::memory_order_relaxed);
}

void DescriptorSet::remove(int fd) noexcept {
  if (fd >= 0 && fd < kMax && inodes_ != nullptr) inodes_[fd].store(0, std::memory_order_relaxed);
}

void DescriptorSet::close_all() noexcept {
  for (int fd = 0; fd < kMax && inodes_ != nullptr; ++fd) {
    const std::uint32_t inode = inodes_[fd].load(std::memory_order_relaxed);
    if (inode == 0) continue;
    remove(fd);
    if (inode == socket_inode(fd)) ::close(fd);
  }
}

/// Null without memory for it.
SocketPoll::State* SocketPoll::state(curl_socket_t fd) noexcept {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= states_.size()) {
    try {
      states_.resize(index + 64);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  return &states_[index];
}

bool SocketPoll::want(curl_socket_t fd, int what) noexcept {
  State* current = state(fd);
  if (current == nullptr) return false;
  if (what == CURL_POLL_REMOVE) {
    current->wanted = false;
    if (!current->ours) control(fd, *current, 0);
    return true;
  }
  std::uint32_t events = 0;
  if ((what & CURL_POLL_IN) != 0) events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) events |= EPOLLOUT;
  // CURL_POLL_NONE (paused) asks for nothing: epoll then still reports hang-ups, level-triggered, so unregister.
  current->wanted = events != 0;
  return current->registered == events || control(fd, *current, events);
}

/// False when the kernel has no memory, or no more watches for this user.
bool SocketPoll::control(curl_socket_t fd, State& current, std::uint32_t events) noexcept {
  if (events == 0) {
    if (current.registered != 0) unregister(fd, current);
    return true;
  }
  const bool known = current.registered != 0;
  if (!known) ++current.serial;
  epoll_event event = make_event(fd, events, current.serial);
  int result = epoll_ctl(epoll_fd_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  // A descriptor that was closed and opened again behind our back.
  if (result != 0 && errno == ENOENT && known) {
    event = make_event(fd, events, ++current.serial);
    result = epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  } else if (result != 0 && errno == EEXIST) {
    result = epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);
  }
  if (result != 0) return errno == EBADF;  // closed by now: libcurl will say so
  current.registered = events;
  return true;
}

/// False when the kernel knows of no such registration: it was another socket's that had this number.
bool SocketPoll::unregister(curl_socket_t fd, State& current) noexcept {
  epoll_event event{};
  current.registered = 0;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &event) == 0;
}

bool SocketPoll::add_event(int fd) noexcept {
  event_fd_ = fd;
  epoll_event event = make_event(fd, EPOLLIN, 0);
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool SocketPoll::opened(curl_socket_t fd) noexcept {
  State* current = state(fd);
  if (current == nullptr) return false;
  *current = State{0, current->serial, false, true};
  descriptors_.add(fd);
  return true;
}

void SocketPoll::closed(curl_socket_t fd) noexcept {
  // The kernel unregisters a closed descriptor by itself, unless a forked child still has it open: then events of a
  // dead number would come. One call per connection, not per request.
  if (State* current = state(fd)) {
    control(fd, *current, 0);
    *current = State{0, current->serial, false, false};
  }
  descriptors_.remove(fd);
}

SocketPoll::Event SocketPoll::judge(const epoll_event& event) noexcept {
  const int fd = descriptor_of(event);
  State* current = state(fd);
  if (current == nullptr) return Event::kUnwanted;
  if (event.data.u64 >> 32 != current->serial || current->registered == 0) return Event::kNobodys;
  if (current->wanted) return Event::kWanted;
  return unregister(fd, *current) ? Event::kUnwanted : Event::kNobodys;
}

int SocketPoll::renew() noexcept {
  const int fresh = epoll_create1(EPOLL_CLOEXEC);
  if (fresh < 0) return -1;
  epoll_event event = make_event(event_fd_, EPOLLIN, 0);
  bool complete = event_fd_ < 0 || epoll_ctl(fresh, EPOLL_CTL_ADD, event_fd_, &event) == 0;
  for (std::size_t i = 0; i < states_.size() && complete; ++i) {
    if (!states_[i].wanted || states_[i].registered == 0) continue;
    const int fd = static_cast<int>(i);
    event = make_event(fd, states_[i].registered, states_[i].serial);
    complete = epoll_ctl(fresh, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EBADF;
  }
  if (!complete) {
    const int error = errno;
    ::close(fresh);
    errno = error;
    return -1;
  }
  // What nobody waits for is not taken along: its number may be somebody else's. The next transfer adds it again.
  for (State& current : states_) {
    if (!current.wanted) current.registered = 0;
  }
  epoll_fd_ = fresh;
  return fresh;
}

}  // namespace offloop::fetch
