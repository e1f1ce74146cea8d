// The epoll set of one I/O thread, and which sockets libcurl has open there.
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <vector>

namespace offloop::fetch {

/// Open sockets as numbers that a forked child can read without a lock, whatever its parent's threads were doing. Each
/// with its inode: libcurl closes a socket that never came to be connected without telling, and its number may by then
/// be somebody else's file.
class DescriptorSet {
 public:
  DescriptorSet() noexcept;
  ~DescriptorSet();
  DescriptorSet(const DescriptorSet&) = delete;
  DescriptorSet& operator=(const DescriptorSet&) = delete;
  void add(int fd) noexcept;
  void remove(int fd) noexcept;
  /// Closes all by number: no epoll_ctl, no clean-up of whoever opened them. [forked child]
  void close_all() noexcept;

 private:
  static constexpr int kMax = 65536;  // higher ones stay open in a child: a leak there, nothing else
  // By descriptor, 0 = none; pages that are not used cost nothing. Null without memory: then a child closes none.
  std::atomic<std::uint32_t>* inodes_;
};

/// [I/O thread]
class SocketPoll {
 public:
  explicit SocketPoll(int epoll_fd) noexcept : epoll_fd_(epoll_fd) {}

  /// libcurl's CURL_POLL_*. A socket that libcurl no longer asks about stays registered: the next transfer on the
  /// kept-alive connection wants just that, and two epoll_ctl calls a request are saved. Nor may its number be touched
  /// then: libcurl says so after it has closed one that was never connected, and another thread may have got the
  /// number.
  /// False: it will not be watched, because memory is short.
  bool want(curl_socket_t fd, int what) noexcept;

  /// False without memory to keep it.
  bool opened(curl_socket_t fd) noexcept;
  void closed(curl_socket_t fd) noexcept;

  /// Watches one descriptor that is not libcurl's and stays open; false with errno set.
  bool add_event(int fd) noexcept;

  static int descriptor_of(const epoll_event& event) noexcept { return static_cast<int>(event.data.u64 & 0xffffffff); }

  enum class Event : std::uint8_t {
    kWanted,    ///< libcurl asked for it
    kUnwanted,  ///< an idle connection was closed by its server: it is no longer registered
    kNobodys    ///< of a socket that is closed here, while a forked child has a copy: only renew() ends it
  };
  Event judge(const epoll_event& event) noexcept;

  /// A new epoll set of what libcurl asks about, used from now on; the caller closes the old one. -1 with errno set.
  int renew() noexcept;

  DescriptorSet& descriptors() noexcept { return descriptors_; }

 private:
  struct State {
    std::uint32_t registered = 0;  // EPOLLIN | EPOLLOUT as the kernel has it
    std::uint32_t serial = 0;      // how often the number was added to the set: an event says for which time it is
    bool wanted = false;
    bool ours = false;  // opened() told of it, so closed() will
  };
  State* state(curl_socket_t fd) noexcept;
  bool control(curl_socket_t fd, State& state, std::uint32_t events) noexcept;
  bool unregister(curl_socket_t fd, State& state) noexcept;

  int epoll_fd_;
  int event_fd_ = -1;
  std::vector<State> states_;  // by descriptor
  DescriptorSet descriptors_;
};

}  // namespace offloop::fetch
