// An HTTP/1.1 server whose answers a test writes as functions: one thread a connection, on 127.0.0.1, every fault on
// demand. A test waits for what it observes here (events), never for time to pass.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace offloop::testing {

/// Opens once; wait() is false only when it did not open within a generous time, so that a broken test ends.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool wait(std::chrono::seconds limit = std::chrono::seconds(60)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

/// A number that others wait for.
class Counter {
 public:
  void add(int by = 1) {
    const std::lock_guard lock(mutex_);
    value_ += by;
    highest_ = std::max(highest_, value_);
    changed_.notify_all();
  }
  bool wait_for_at_least(int value, std::chrono::seconds limit = std::chrono::seconds(60)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return value_ >= value; });
  }
  int value() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  int highest() const {
    const std::lock_guard lock(mutex_);
    return highest_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int value_ = 0;
  int highest_ = 0;
};

struct HttpRequest {
  std::string method;
  std::string target;  ///< path and query
  std::string head;    ///< all lines as received

  /// The value of a header, empty when absent; names are compared as written by libcurl.
  std::string header(const std::string& name) const {
    const std::size_t start = head.find("\r\n" + name + ": ");
    if (start == std::string::npos) return {};
    const std::size_t value = start + name.size() + 4;
    return head.substr(value, head.find("\r\n", value) - value);
  }
};

/// One accepted connection, given to handlers. Used by its own thread only.
class Connection {
 public:
  explicit Connection(int fd, int number) : fd_(fd), number_(number) {}

  int number() const { return number_; }  ///< 0 for the first that the server accepted

  /// False when the client is gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  bool reply(int status, std::string_view body, const std::string& more_headers = {}) {
    return send("HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n" + more_headers + "\r\n" + std::string(body));
  }

  /// Ends the connection with an ordinary FIN after this handler.
  void close() { wants_close_ = true; }

  /// Ends it with RST, now.
  void reset() {
    const linger hard{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    wants_close_ = true;
  }

  /// Blocks until the client closes (true) or the server stops (false).
  bool wait_until_client_closes() {
    char byte;
    for (;;) {
      const ssize_t got = ::recv(fd_, &byte, 1, 0);
      if (got == 0 || (got < 0 && errno != EINTR)) return !stopped_.load();
    }
  }

  bool wants_close() const { return wants_close_; }
  int fd() const { return fd_; }
  void stop() {
    stopped_.store(true);
    ::shutdown(fd_, SHUT_RDWR);
  }

 private:
  const int fd_;
  const int number_;
  bool wants_close_ = false;
  std::atomic<bool> stopped_{false};
};

class ScriptedServer {
 public:
  using Handler = std::function<void(Connection&, const HttpRequest&)>;

  ScriptedServer() {
    listen_fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listen_fd_ < 0 || ::bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listen_fd_, 4096) != 0 || getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port for the test server");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~ScriptedServer() { stop(); }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  /// Answers every request whose path (without query) is this; set before the first request.
  void on(const std::string& path, Handler handler) { handlers_[path] = std::move(handler); }
  /// Answers what no path matches, instead of 404.
  void on_any(Handler handler) { fallback_ = std::move(handler); }

  std::uint16_t port() const { return port_; }
  std::string url(const std::string& target) const { return "http://127.0.0.1:" + std::to_string(port_) + target; }

  int connections() const { return accepted_.value(); }
  int requests() const { return requests_.value(); }
  Counter& request_counter() { return requests_; }

  /// Ends all connections and threads. Handlers that block must be let go before.
  void stop() {
    if (stopping_.exchange(true)) return;
    ::shutdown(listen_fd_, SHUT_RDWR);
    acceptor_.join();
    ::close(listen_fd_);
    std::vector<std::thread> threads;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& connection : open_) connection->stop();
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) {
        if (stopping_.load()) return;
        continue;
      }
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      auto connection = std::make_shared<Connection>(fd, accepted_.value());
      accepted_.add();
      const std::lock_guard lock(mutex_);
      open_.push_back(connection);
      threads_.emplace_back([this, connection] { serve(connection); });
    }
  }

  void serve(const std::shared_ptr<Connection>& connection) {
    std::string buffer;
    while (!stopping_.load() && !connection->wants_close()) {
      HttpRequest request;
      if (!read_request(*connection, buffer, request)) break;
      requests_.add();
      const auto found = handlers_.find(request.target.substr(0, request.target.find('?')));
      if (found != handlers_.end()) {
        found->second(*connection, request);
      } else if (fallback_) {
        fallback_(*connection, request);
      } else {
        connection->reply(404, "not here");
      }
    }
    const std::lock_guard lock(mutex_);
    open_.erase(std::find(open_.begin(), open_.end(), connection));
    ::close(connection->fd());
  }

  static bool read_request(Connection& connection, std::string& buffer, HttpRequest& request) {
    std::size_t end;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      char chunk[16384];
      const ssize_t got = ::recv(connection.fd(), chunk, sizeof chunk, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      buffer.append(chunk, static_cast<std::size_t>(got));
    }
    request.head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    const std::size_t first = request.head.find(' ');
    request.method = request.head.substr(0, first);
    request.target = request.head.substr(first + 1, request.head.find(' ', first + 1) - first - 1);
    return true;
  }

  int listen_fd_ = -1;
  std::uint16_t port_ = 0;
  std::map<std::string, Handler> handlers_;
  Handler fallback_;
  std::atomic<bool> stopping_{false};
  Counter accepted_;
  Counter requests_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Connection>> open_;  // guarded by mutex_
  std::vector<std::thread> threads_;               // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace offloop::testing
