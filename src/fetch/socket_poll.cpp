#include "fetch/socket_poll.h"

#include <unistd.h>

#include <bit>
#include <cerrno>

namespace offloop::fetch {

void DescriptorSet::add(int fd) noexcept {
  if (fd < 0 || fd >= kMax) return;
  words_[static_cast<std::size_t>(fd) / 64].fetch_or(std::uint64_t{1} << (fd % 64), std::memory_order_relaxed);
}

void DescriptorSet::remove(int fd) noexcept {
  if (fd < 0 || fd >= kMax) return;
  words_[static_cast<std::size_t>(fd) / 64].fetch_and(~(std::uint64_t{1} << (fd % 64)), std::memory_order_relaxed);
}

void DescriptorSet::close_all() noexcept {
  for (std::size_t word = 0; word < words_.size(); ++word) {
    std::uint64_t bits = words_[word].exchange(0, std::memory_order_relaxed);
    for (; bits != 0; bits &= bits - 1) ::close(static_cast<int>(word * 64) + std::countr_zero(bits));
  }
}

SocketPoll::State& SocketPoll::state(curl_socket_t fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= states_.size()) states_.resize(index + 64);
  return states_[index];
}

void SocketPoll::want(curl_socket_t fd, int what) {
  State& current = state(fd);
  if (what == CURL_POLL_REMOVE) {
    current.wanted = false;
    if (!current.ours || current.registered != EPOLLIN) control(fd, current, 0);
    return;
  }
  std::uint32_t events = 0;
  if ((what & CURL_POLL_IN) != 0) events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) events |= EPOLLOUT;
  // CURL_POLL_NONE (paused) asks for nothing: epoll then still reports hang-ups, level-triggered, so unregister.
  current.wanted = events != 0;
  if (current.registered != events) control(fd, current, events);
}

void SocketPoll::control(curl_socket_t fd, State& current, std::uint32_t events) {
  if (events == 0 && current.registered == 0) return;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  int operation = events == 0 ? EPOLL_CTL_DEL : current.registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(epoll_fd_, operation, fd, &event) != 0) {
    // A descriptor that was closed and opened again behind our back.
    if (errno == ENOENT && operation == EPOLL_CTL_MOD)
      operation = EPOLL_CTL_ADD;
    else if (errno == EEXIST)
      operation = EPOLL_CTL_MOD;
    else
      operation = 0;
    if (operation != 0) epoll_ctl(epoll_fd_, operation, fd, &event);
  }
  current.registered = events;
}

void SocketPoll::opened(curl_socket_t fd) {
  state(fd) = State{0, false, true};
  descriptors_.add(fd);
}

void SocketPoll::closed(curl_socket_t fd) {
  // The kernel unregisters a closed descriptor by itself, unless a forked child still has it open: then events of a
  // dead number would come. One call per connection, not per request.
  State& current = state(fd);
  control(fd, current, 0);
  current = State{};
  descriptors_.remove(fd);
}

bool SocketPoll::is_wanted(curl_socket_t fd) {
  State& current = state(fd);
  if (!current.wanted) control(fd, current, 0);
  return current.wanted;
}

}  // namespace offloop::fetch
