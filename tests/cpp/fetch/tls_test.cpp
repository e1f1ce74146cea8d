// Certificates are verified unless told otherwise. The server is OpenSSL's own, started with a fresh self-signed
// certificate.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/fetch_probe.h"

extern char** environ;

namespace offloop::fetch {
namespace {

using testing::fetch_one;
using testing::make_fetcher;

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl program";
    char name[] = "/tmp/offloop-tls-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    const std::string make =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=offloop" +
        std::string(" -addext subjectAltName=IP:127.0.0.1 -keyout ") + key() + " -out " + certificate() +
        " >/dev/null 2>&1";
    ASSERT_EQ(std::system(make.c_str()), 0);
    start_server();
  }

  void TearDown() override {
    if (server_ > 0) {
      kill(server_, SIGTERM);
      waitpid(server_, nullptr, 0);
    }
    if (output_ != nullptr) std::fclose(output_);
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  std::string certificate() const { return folder_ + "/cert.pem"; }
  std::string key() const { return folder_ + "/key.pem"; }
  std::string url(const char* host = "127.0.0.1") const { return "https://" + std::string(host) + ":" + port_ + "/"; }

 private:
  /// "s_server -www" answers every GET with a page about the connection, and prints "ACCEPT 127.0.0.1:port" when it is
  /// ready.
  void start_server() {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    const std::string cert = certificate();
    const std::string private_key = key();
    const char* arguments[] = {"openssl",    "s_server", "-accept",           "127.0.0.1:0", "-cert",
                               cert.c_str(), "-key",     private_key.c_str(), "-www",        nullptr};
    const int error = posix_spawnp(&server_, "openssl", &actions, nullptr, const_cast<char**>(arguments), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    ASSERT_EQ(error, 0);
    output_ = fdopen(ends[0], "r");
    char line[256];
    while (std::fgets(line, sizeof line, output_) != nullptr) {
      const std::string text = line;
      if (!text.starts_with("ACCEPT ")) continue;
      port_ = text.substr(text.rfind(':') + 1);
      port_.erase(port_.find_last_not_of("\r\n ") + 1);
      return;
    }
    FAIL() << "the TLS server did not start";
  }

  std::string folder_;
  std::string port_;
  pid_t server_ = -1;
  FILE* output_ = nullptr;
};

TEST_F(Tls, AnUnknownCertificateIsRefused) {
  const auto probe = fetch_one(*make_fetcher(), url());
  EXPECT_EQ(probe->error.code, ErrorCode::kTls);
  EXPECT_EQ(probe->responses.load(), 0);
  EXPECT_FALSE(is_retryable(probe->error.code));
}

TEST_F(Tls, ItsOwnCaFileMakesItTrusted) {
  FetcherOptions options;
  options.ca_file = certificate();
  const auto probe = fetch_one(*make_fetcher(options), url());
  ASSERT_TRUE(probe->info) << probe->error.message;
  EXPECT_EQ(probe->info->status, 200);
  EXPECT_GT(probe->info->timings.tls_ns, probe->info->timings.connect_ns);
}

TEST_F(Tls, AnotherHostNameIsRefusedAlthoughTheCaIsTrusted) {
  FetcherOptions options;
  options.ca_file = certificate();
  options.resolve = {"other.test:127.0.0.1"};
  EXPECT_EQ(fetch_one(*make_fetcher(options), url("other.test"))->error.code, ErrorCode::kTls);
}

TEST_F(Tls, VerificationCanBeTurnedOff) {
  FetcherOptions options;
  options.verify_tls = false;
  const auto probe = fetch_one(*make_fetcher(options), url());
  EXPECT_TRUE(probe->info) << probe->error.message;
}

TEST_F(Tls, APlainServerBehindHttpsIsATlsError) {
  testing::ScriptedServer plain;
  plain.on_any([](testing::Connection& c, const testing::HttpRequest&) { c.reply(200, "x"); });
  const std::string text = plain.url("/");
  // The ClientHello is no HTTP request: the server waits for more, so give up by the handshake's own limit.
  FetcherOptions options;
  options.connect_timeout = 0.2;
  const auto probe = fetch_one(*make_fetcher(options), "https" + text.substr(4));
  EXPECT_TRUE(probe->error.code == ErrorCode::kFetchTimeout || probe->error.code == ErrorCode::kTls);
}

}  // namespace
}  // namespace offloop::fetch
