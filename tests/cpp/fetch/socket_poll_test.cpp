// libcurl closes a socket that never came to be connected without telling. Its number may then be somebody else's.
#include "fetch/socket_poll.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/fetch_probe.h"

namespace offloop::fetch {
namespace {

using testing::fetch_one;
using testing::make_fetcher;
using testing::run_in_child;

int new_socket() {
  return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) != -1;
}

/// Gives the number to a file that the set knows nothing of.
void take_over(int fd, int file) {
  ASSERT_EQ(::dup2(file, fd), fd);
  ::close(file);
}

/// An address where a connection is never made: the queue of those that wait to be accepted is full.
class Blackhole {
 public:
  Blackhole() {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address_;
    EXPECT_EQ(::bind(sockets_[0], address(), length), 0);
    EXPECT_EQ(::listen(sockets_[0], 0), 0);
    EXPECT_EQ(::getsockname(sockets_[0], address(), &length), 0);
    for (std::size_t i = 1; i < sockets_.size(); ++i) {
      ::fcntl(sockets_[i], F_SETFL, O_NONBLOCK);
      (void)!::connect(sockets_[i], address(), length);
    }
  }
  ~Blackhole() {
    for (const int fd : sockets_) ::close(fd);
  }
  Blackhole(const Blackhole&) = delete;
  Blackhole& operator=(const Blackhole&) = delete;
  [[nodiscard]] std::uint16_t port() const { return ntohs(address_.sin_port); }

 private:
  sockaddr* address() { return reinterpret_cast<sockaddr*>(&address_); }
  sockaddr_in address_{};
  std::array<int, 4> sockets_{new_socket(), new_socket(), new_socket(), new_socket()};
};

TEST(DescriptorSet, ClosesWhatItHolds) {
  DescriptorSet set;
  const int kept = new_socket();
  const int removed = new_socket();
  set.add(kept);
  set.add(removed);
  set.remove(removed);
  set.close_all();
  EXPECT_FALSE(is_open(kept));
  EXPECT_TRUE(is_open(removed));
  ::close(removed);
}

TEST(DescriptorSet, LeavesANumberThatIsSomebodyElsesByNow) {
  DescriptorSet set;
  const int file = new_socket();
  const int socket = new_socket();
  set.add(file);
  set.add(socket);
  take_over(file, ::open("/dev/null", O_RDONLY | O_CLOEXEC));
  take_over(socket, new_socket());
  set.close_all();
  EXPECT_TRUE(is_open(file));
  EXPECT_TRUE(is_open(socket));
  ::close(file);
  ::close(socket);
}

TEST(SocketPoll, DoesNotTouchANumberThatLibcurlNoLongerHas) {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  SocketPoll poll(epoll_fd);
  const int fd = new_socket();
  ASSERT_TRUE(poll.opened(fd));
  ASSERT_TRUE(poll.want(fd, CURL_POLL_OUT));
  take_over(fd, new_socket());
  epoll_event event{};
  ASSERT_EQ(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
  ASSERT_TRUE(poll.want(fd, CURL_POLL_REMOVE));  // libcurl says so after it has closed its own
  EXPECT_EQ(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event), 0) << "still registered";
  ::close(fd);
  ::close(epoll_fd);
}

TEST(SocketPoll, SaysWhenTheKernelRefuses) {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  SocketPoll poll(epoll_fd);
  const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);  // a file cannot be watched
  ASSERT_TRUE(poll.opened(fd));
  EXPECT_FALSE(poll.want(fd, CURL_POLL_IN));
  EXPECT_FALSE(poll.add_event(fd));
  ::close(fd);
  ::close(epoll_fd);
}

TEST(SocketPoll, AForkedChildClosesNobodyElsesFile) {
  const Blackhole blackhole;
  FetcherOptions options;
  options.connect_timeout = 0.1;
  auto fetcher = make_fetcher(options);
  const auto probe = fetch_one(*fetcher, "http://127.0.0.1:" + std::to_string(blackhole.port()) + "/");
  ASSERT_EQ(probe->error.code, ErrorCode::kFetchTimeout);
  std::vector<int> others;  // one of them has the number of the socket that was never connected
  for (int i = 0; i < 16; ++i) others.push_back(new_socket());
  EXPECT_EQ(run_in_child([&] {
              fetcher.reset();
              int closed = 0;
              for (const int fd : others) closed += is_open(fd) ? 0 : 1;
              return closed;
            }),
            "exit 0");
  for (const int fd : others) ::close(fd);
}

}  // namespace
}  // namespace offloop::fetch
