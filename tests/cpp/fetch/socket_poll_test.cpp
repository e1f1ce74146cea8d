// libcurl closes a socket that never came to be connected without telling. Its number may then be somebody else's, and
// a forked child may still have a copy of it.
#include "fetch/socket_poll.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/child.h"
#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Child;
using testing::Connection;
using testing::fetch_one;
using testing::FetchProbe;
using testing::fork_child;
using testing::get;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::run_in_child;
using testing::ScriptedServer;

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
    for (const int fd : sockets_) {
      if (fd >= 0) ::close(fd);
    }
  }
  Blackhole(const Blackhole&) = delete;
  Blackhole& operator=(const Blackhole&) = delete;
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(ntohs(address_.sin_port)) + "/"; }

  /// Makes room, and waits for the connection that has been tried in vain so far: a second, until it is tried again.
  [[nodiscard]] int let_in() {
    for (std::size_t i = 1; i < sockets_.size(); ++i) ::close(std::exchange(sockets_[i], -1));
    ::close(::accept(sockets_[0], nullptr, nullptr));  // the one that took the place
    return ::accept(sockets_[0], nullptr, nullptr);
  }

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

/// One end of a pair that can be written to at once.
std::array<int, 2> socket_pair() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return ends;
}

std::vector<SocketPoll::Event> judged_now(int epoll_fd, SocketPoll& poll) {
  std::array<epoll_event, 8> events{};
  std::vector<SocketPoll::Event> all;
  const int count = epoll_wait(epoll_fd, events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) all.push_back(poll.judge(events[static_cast<std::size_t>(i)]));
  std::sort(all.begin(), all.end());
  return all;
}

TEST(SocketPoll, TellsTheEventsOfASocketFromThoseOfAnEarlierOneOfItsNumber) {
  using Event = SocketPoll::Event;
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  SocketPoll poll(epoll_fd);
  const auto [earlier, its_peer] = socket_pair();
  const auto [later, peer] = socket_pair();
  const auto [idle, idle_peer] = socket_pair();
  for (const int fd : {earlier, idle}) {
    ASSERT_TRUE(poll.opened(fd));
    ASSERT_TRUE(poll.want(fd, CURL_POLL_OUT));
  }
  ASSERT_TRUE(poll.want(idle, CURL_POLL_REMOVE));
  const int copy = ::fcntl(earlier, F_DUPFD_CLOEXEC, 0);  // as in a forked child
  take_over(earlier, later);
  ASSERT_TRUE(poll.opened(earlier));
  EXPECT_EQ(judged_now(epoll_fd, poll), (std::vector{Event::kUnwanted, Event::kNobodys}));
  ASSERT_TRUE(poll.want(earlier, CURL_POLL_OUT));
  EXPECT_EQ(judged_now(epoll_fd, poll), (std::vector{Event::kWanted, Event::kNobodys}));
  const int fresh = poll.renew();
  ASSERT_GE(fresh, 0);
  EXPECT_EQ(judged_now(fresh, poll), (std::vector{Event::kWanted}));
  ASSERT_TRUE(poll.want(idle, CURL_POLL_OUT)) << "used again";
  EXPECT_EQ(judged_now(fresh, poll), (std::vector{Event::kWanted, Event::kWanted}));
  for (const int fd : {earlier, its_peer, peer, idle, idle_peer, copy, epoll_fd, fresh}) ::close(fd);
}

TEST(SocketPoll, AForkedChildClosesNobodyElsesFile) {
  const Blackhole blackhole;
  FetcherOptions options;
  options.connect_timeout = 0.1;
  auto fetcher = make_fetcher(options);
  const auto probe = fetch_one(*fetcher, blackhole.url());
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

/// The sockets of this process and, of its epoll sets, what is registered there.
struct Descriptors {
  std::set<int> sockets;
  std::set<int> registered;

  Descriptors() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (target.starts_with("socket:")) sockets.insert(std::stoi(entry.path().filename().string()));
      if (target != "anon_inode:[eventpoll]") continue;
      std::ifstream info("/proc/self/fdinfo/" + entry.path().filename().string());
      for (std::string word; info >> word;) {
        if (word == "tfd:" && info >> word) registered.insert(std::stoi(word));
      }
    }
  }
};

/// Starts a transfer and returns its socket when that is being connected, and watched.
int connecting_socket(Fetcher& fetcher, const std::string& url, FetchProbe& probe) {
  const Descriptors before;
  EXPECT_TRUE(fetcher.start(get(url), &probe).ok());
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < until) {
    const Descriptors now;
    for (const int fd : now.sockets) {
      if (!before.sockets.contains(fd) && now.registered.contains(fd)) return fd;
    }
  }
  ADD_FAILURE() << "no socket is watched";
  return -1;
}

TEST(SocketPoll, AForkWhileASocketIsBeingConnectedLeavesItToTheParent) {
  Blackhole blackhole;
  auto fetcher = make_fetcher();
  FetchProbe probe;
  const int fd = connecting_socket(*fetcher, blackhole.url(), probe);
  EXPECT_EQ(run_in_child([&] {
              fetcher.reset();
              return is_open(fd) ? 1 : 0;
            }),
            "exit 0");
  EXPECT_TRUE(Descriptors().registered.contains(fd)) << "the child has taken it out of the parent's epoll set";
  EXPECT_EQ(probe.dones.load(), 0);
  const int connection = blackhole.let_in();
  char request[1000];
  EXPECT_GT(::recv(connection, request, sizeof request, 0), 0);
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
  EXPECT_EQ(::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
  EXPECT_EQ(probe.wait(), ErrorCode::kOk) << probe.error.message;
  EXPECT_EQ(probe.body, "fine");
  ::close(connection);
}

TEST(SocketPoll, ASocketThatLivesOnInAForkedChildDoesNotKeepTheThreadBusy) {
  Blackhole blackhole;
  FetcherOptions options;
  options.connect_timeout = 0.3;
  const auto fetcher = make_fetcher(options);
  FetchProbe probe;
  ASSERT_GE(connecting_socket(*fetcher, blackhole.url(), probe), 0);
  int until[2];
  ASSERT_EQ(::pipe2(until, O_CLOEXEC), 0);
  const Child child = fork_child([&] {
    ::close(until[1]);
    char nothing = 0;
    return static_cast<int>(::read(until[0], &nothing, 1));  // until the parent has closed its end
  });
  EXPECT_EQ(probe.wait(), ErrorCode::kFetchTimeout);
  const int connection = blackhole.let_in();  // the child's copy is connected now, and was the parent's to watch
  EXPECT_GE(connection, 0);
  const std::uint64_t before = fetcher->stats().wakes;
  ::usleep(300'000);
  EXPECT_LT(fetcher->stats().wakes - before, 100U) << "something spins";
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "fine"); });
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "fine");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "fine") << "on the connection that was kept";
  ::close(until[1]);
  EXPECT_EQ(child.wait(), "exit 0");
  ::close(until[0]);
  ::close(connection);
}

}  // namespace
}  // namespace offloop::fetch
