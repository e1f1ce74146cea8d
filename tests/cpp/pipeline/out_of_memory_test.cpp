// Every allocation of a fetch fails once, and every allocation from some point on: the transfer ends with "out of
// memory" or as if nothing had happened, nothing is lost, and the next one is as good as ever.
#include "support/every_allocation.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <string_view>

#include "offloop/fetch/collect.h"
#include "offloop/pipeline/fetch_hash.h"
#include "offloop/pipeline/stream_body.h"
#include "support/coded_text.h"
#include "support/hash_probe.h"
#include "support/scripted_server.h"
#include "support/temp_dir.h"

namespace offloop::pipeline {
namespace {

using fetch::Flow;
using fetch::Request;
using fetch::TransferId;
using fetch::TransferInfo;
using offloop::testing::Bytes;
using offloop::testing::Connection;
using offloop::testing::fail_every_allocation;
using offloop::testing::fail_every_allocation_of_a_process;
using offloop::testing::Gate;
using offloop::testing::HttpRequest;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::outcome_of;
using offloop::testing::ScriptedServer;
using offloop::testing::TempDir;

/// A server in a process of its own, so that only the client's allocations fail.
class ServerProcess {
 public:
  /// Forked by the first test, before there are threads; it ends with this process.
  static const ServerProcess& instance() {
    static const auto* one = new ServerProcess;
    return *one;
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  [[nodiscard]] std::string url(const std::string& host, const std::string& path) const {
    return "http://" + host + ":" + std::to_string(port_) + path;
  }
  static std::string small() { return testing::plain_text(); }
  static std::string large() {
    const Bytes noise = noise_bytes(600'000, 4);
    return {noise.begin(), noise.end()};
  }

 private:
  ServerProcess() {
    int ends[2];
    if (pipe(ends) != 0) return;
    if (fork() == 0) serve(ends[1]);
    if (::read(ends[0], &port_, sizeof port_) != sizeof port_) port_ = 0;
    ::close(ends[0]);
    ::close(ends[1]);
  }

  [[noreturn]] static void serve(int report) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ScriptedServer server;
    server.on("/small", [](Connection& c, const HttpRequest&) { c.reply(200, small()); });
    server.on("/large", [](Connection& c, const HttpRequest&) { c.reply(200, large()); });
    server.on("/gzip", [](Connection& c, const HttpRequest&) {
      c.reply(200, testing::gzip_packed(small()), "Content-Encoding: gzip\r\n");
    });
    server.on("/moved", [](Connection& c, const HttpRequest&) { c.reply(302, "", "Location: /small\r\n"); });
    server.on("/closed", [](Connection& c, const HttpRequest&) {
      c.reply(200, small(), "Connection: close\r\n");
      c.close();
    });
    server.on("/keyed", [](Connection& c, const HttpRequest& request) {
      c.reply(request.header("X-Key") == "open" && !request.header("User-Agent").empty() ? 200 : 403, small());
    });
    server.on("/never", [](Connection& c, const HttpRequest&) {
      c.wait_until_client_closes();
      c.close();
    });
    const std::uint16_t port = server.port();
    if (::write(report, &port, sizeof port) != sizeof port) _exit(1);
    for (;;) pause();
  }

  std::uint16_t port_ = 0;
};

std::string hex_of(const std::string& text) {
  return openssl_hex({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Request get(const std::string& url) {
  Request request;
  request.url = url;
  return request;
}

/// "right", or the error's name.
template <class T>
const char* name_of(const Result<T>& result) {
  return result.ok() ? "right" : error_code_name(result.error().code);
}

template <class Run>
std::string guarded(Run run) {
  try {
    return run();
  } catch (const std::bad_alloc&) {  // thrown by the call itself: nothing was started
    return "OutOfMemory";
  }
}

int open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

/// Needs no memory of its own. Pauses at the first bytes, if it is to.
class Counting final : public fetch::BodyConsumer {
 public:
  bool pauses = false;
  Gate paused;
  Gate done;
  std::size_t size = 0;
  const char* outcome = "lost";

  Flow on_body(ByteSpan bytes) override {
    if (std::exchange(pauses, false)) {
      paused.open();
      return Flow::kPause;
    }
    size += bytes.size();
    return Flow::kContinue;
  }
  void on_done(Result<TransferInfo> result) override {
    outcome = name_of(result);
    paused.open();
    done.open();
  }
  const char* wait() { return done.wait() ? outcome : "lost"; }
};

/// The first fetcher of a process, with libcurl's and OpenSSL's own beginnings. First in this
/// file: the children must not find that it has been made.
TEST(OutOfMemory, TheFirstFetcherOfAProcess) {
  if (!OFFLOOP_CAN_FAIL_MALLOC) GTEST_SKIP() << "the sanitizer has the allocator";
  const ServerProcess& server = ServerProcess::instance();
  const std::string url = server.url("127.0.0.1", "/small");
  const std::string right = hex_of(ServerProcess::small());
  const auto run = [&] {
    return guarded([&]() -> std::string {
      auto fetcher = HashingFetcher::create({});
      return fetcher.ok() ? outcome_of([&] { return fetcher.value()->fetch_and_hash(url); }) : name_of(fetcher);
    });
  };
  fail_every_allocation_of_a_process(run, right, 100);
}

/// With a fetcher that is kept: its connections and its threads are there.
TEST(OutOfMemory, OneBodyHashed) {
  const ServerProcess& server = ServerProcess::instance();
  const auto fetcher = std::move(HashingFetcher::create({})).value();
  const std::string small = hex_of(ServerProcess::small());
  for (const auto& [path, right] : {std::pair{"/small", small},
                                    {"/large", hex_of(ServerProcess::large())},
                                    {"/gzip", small},
                                    {"/moved", small},
                                    {"/closed", small}}) {
    SCOPED_TRACE(path);
    const std::string url = server.url("localhost", path);
    fail_every_allocation([&] { return outcome_of([&] { return fetcher->fetch_and_hash(url); }); }, right);
  }
}

/// Each time with a new fetcher: its making, its threads and its end are part of it.
TEST(OutOfMemory, AFetcherFromItsMakingToItsEnd) {
  const ServerProcess& server = ServerProcess::instance();
  const int before = open_descriptors();
  for (const char* host : {"127.0.0.1", "localhost"}) {
    SCOPED_TRACE(host);
    const std::string url = server.url(host, "/small");
    const auto run = [&] {
      return guarded([&]() -> std::string {
        auto fetcher = HashingFetcher::create({});
        return fetcher.ok() ? outcome_of([&] { return fetcher.value()->fetch_and_hash(url); }) : name_of(fetcher);
      });
    };
    fail_every_allocation(run, hex_of(ServerProcess::small()));
  }
  EXPECT_EQ(open_descriptors(), before);
}

class Collecting final : public fetch::CollectJob {
 public:
  std::string run(fetch::Fetcher& fetcher, const std::string& url) {
    if (const Result<Unit> started = start(fetcher, get(url)); !started.ok()) return name_of(started);
    return done_.wait() ? outcome_ : "lost";
  }

 private:
  void ended(Result<fetch::CollectedBody> result) noexcept override {
    outcome_ = name_of(result);
    done_.open();
  }
  Gate done_;
  const char* outcome_ = "lost";
};

TEST(OutOfMemory, OneBodyInMemory) {
  const ServerProcess& server = ServerProcess::instance();
  const auto fetcher = std::move(fetch::Fetcher::create({})).value();
  const std::string url = server.url("localhost", "/large");
  fail_every_allocation([&] { return guarded([&] { return Collecting().run(*fetcher, url); }); }, "right");
}

class Saving final : public FetchFileJob {
 public:
  using FetchFileJob::FetchFileJob;
  std::string run(fetch::Fetcher& fetcher, const std::string& url) {
    if (const Result<Unit> started = start(fetcher, get(url)); !started.ok()) return name_of(started);
    return done_.wait() ? outcome_ : "lost";
  }

 private:
  void ended(Result<TransferInfo> result) noexcept override {
    outcome_ = name_of(result);
    done_.open();
  }
  Gate done_;
  const char* outcome_ = "lost";
};

TEST(OutOfMemory, OneFileIsWholeOrNotThere) {
  const ServerProcess& server = ServerProcess::instance();
  const TempDir dir;
  const std::string path = dir / "file";
  const auto fetcher = std::move(fetch::Fetcher::create({})).value();
  const std::string url = server.url("localhost", "/large");
  const auto size = static_cast<off_t>(ServerProcess::large().size());
  const auto run = [&]() -> std::string {
    ::unlink(path.c_str());
    const std::string outcome = guarded([&] { return Saving(path).run(*fetcher, url); });
    struct stat found {};
    const bool is_there = ::stat(path.c_str(), &found) == 0;
    if (outcome == "right" ? found.st_size != size : is_there) return "a wrong file";
    return outcome;
  };
  fail_every_allocation(run, "right");
}

TEST(OutOfMemory, APausedTransferGoesOn) {
  const ServerProcess& server = ServerProcess::instance();
  const auto fetcher = std::move(fetch::Fetcher::create({})).value();
  const std::string url = server.url("localhost", "/gzip");
  const std::size_t size = ServerProcess::small().size();
  const auto run = [&]() -> std::string {
    Counting counting;
    counting.pauses = true;
    const Result<TransferId> id = fetcher->start(get(url), &counting);
    if (!id.ok()) return name_of(id);
    if (!counting.paused.wait()) return "never paused";
    fetcher->resume(id.value());
    const char* outcome = counting.wait();
    return outcome != std::string_view("right") || counting.size == size ? outcome : "wrong size";
  };
  fail_every_allocation([&] { return guarded(run); }, "right");
}

TEST(OutOfMemory, NoRequestGoesWithoutItsHeaders) {
  const ServerProcess& server = ServerProcess::instance();
  const auto run = [&]() -> std::string {
    fetch::FetcherOptions options;
    options.headers = {{"X-Other", "a value that is longer than a short string"}};
    const auto fetcher = fetch::Fetcher::create(std::move(options));
    if (!fetcher.ok()) return name_of(fetcher);
    Request request = get(server.url("127.0.0.1", "/keyed"));
    request.headers = {{"X-Key", "open"}};
    Counting counting;
    const Result<TransferId> id = fetcher.value()->start(request, &counting);
    return id.ok() ? counting.wait() : name_of(id);
  };
  fail_every_allocation([&] { return guarded(run); }, "right");
}

TEST(OutOfMemory, CancelsAreNotLost) {
  const ServerProcess& server = ServerProcess::instance();
  const auto fetcher = std::move(fetch::Fetcher::create({})).value();
  const std::string url = server.url("127.0.0.1", "/never");
  const auto run = [&]() -> std::string {
    std::array<Counting, 3> all;
    std::vector<fetch::Fetcher::Start> starts;
    for (Counting& one : all) starts.push_back({get(url), &one});
    std::vector<TransferId> ids(all.size());
    const auto results = fetcher->start_many(starts);
    for (std::size_t i = 0; i < all.size(); ++i) ids[i] = results[i].ok() ? results[i].value() : 0;
    fetcher->cancel_many(ids);
    std::string outcome = "Stopped";
    for (std::size_t i = 0; i < all.size(); ++i) {
      const char* got = results[i].ok() ? all[i].wait() : name_of(results[i]);
      if (got != std::string_view("Stopped")) outcome = got;
    }
    return outcome;
  };
  fail_every_allocation([&] { return guarded(run); }, "Stopped");
}

}  // namespace
}  // namespace offloop::pipeline
