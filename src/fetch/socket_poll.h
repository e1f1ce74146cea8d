// The epoll set of one I/O thread, and which sockets libcurl has open there.
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace offloop::fetch {

/// Open descriptors as bits that a forked child can read without a lock, whatever its parent's threads were doing.
class DescriptorSet {
 public:
  void add(int fd) noexcept;
  void remove(int fd) noexcept;
  /// Closes all by number: no epoll_ctl, no clean-up of whoever opened them. [forked child]
  void close_all() noexcept;

 private:
  static constexpr int kMax = 65536;  // higher ones stay open in a child: a leak there, nothing else
  std::array<std::atomic<std::uint64_t>, kMax / 64> words_{};
};

/// [I/O thread]
class SocketPoll {
 public:
  explicit SocketPoll(int epoll_fd) noexcept : epoll_fd_(epoll_fd) {}

  /// libcurl's CURL_POLL_*. A socket that libcurl no longer asks about stays registered for input: the next transfer on
  /// the kept-alive connection wants just that, and two epoll_ctl calls a request are saved.
  void want(curl_socket_t fd, int what);

  void opened(curl_socket_t fd);
  void closed(curl_socket_t fd);

  /// For an event: whether libcurl asked for it. If not (an idle connection was closed by its server), it is
  /// unregistered.
  bool is_wanted(curl_socket_t fd);

  DescriptorSet& descriptors() noexcept { return descriptors_; }

 private:
  struct State {
    std::uint32_t registered = 0;  // EPOLLIN | EPOLLOUT as the kernel has it
    bool wanted = false;
    bool ours = false;  // opened() told of it, so closed() will
  };
  State& state(curl_socket_t fd);
  void control(curl_socket_t fd, State& state, std::uint32_t events);

  int epoll_fd_;
  std::vector<State> states_;  // by descriptor
  DescriptorSet descriptors_;
};

}  // namespace offloop::fetch
