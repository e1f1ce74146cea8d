// Every allocation fails once, and every allocation from some point on: the operation ends with "out of memory" or as
// if nothing had happened, nothing is lost, and the next one is as good as ever.
#include "support/every_allocation.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "offloop/hash/hash.h"
#include "support/hash_probe.h"
#include "support/temp_dir.h"

namespace offloop::hash {
namespace {

using offloop::testing::Bytes;
using offloop::testing::fail_every_allocation;
using offloop::testing::g_malloc;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::outcome_of;
using offloop::testing::TempDir;

TEST(OutOfMemory, OneHash) {
  const Bytes data = noise_bytes(100'000, 1);
  fail_every_allocation([&] { return outcome_of([&] { return sha256(data); }); }, openssl_hex(data));
  fail_every_allocation([&] { return outcome_of([&] { return digest(data, "sha512"); }); },
                        openssl_hex(data, "SHA512"));
}

TEST(OutOfMemory, OneFile) {
  const TempDir dir;
  const Bytes data = noise_bytes(700'000, 2);
  const std::string path = dir.write("file", data);
  for (const auto& [name, openssl] : {std::pair{"sha256", "SHA256"}, {"sha3_256", "SHA3-256"}}) {
    fail_every_allocation([&, n = name] { return outcome_of([&] { return file_digest(path, n); }); },
                          openssl_hex(data, openssl));
  }
}

/// The pool is made once a process, so each time in a child of its own.
TEST(OutOfMemory, TheStartOfThePool) {
  if (!OFFLOOP_CAN_FAIL_MALLOC) GTEST_SKIP() << "the sanitizer has the allocator";
  const Bytes data = noise_bytes(100'000, 3);
  const std::string right = openssl_hex(data);
  for (const bool forever : {false, true}) {
    for (long n = 1; n < 500; ++n) {
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        alarm(60);
        g_malloc.arm(n, forever);
        const std::string got = outcome_of([&] { return sha256(data); });
        const long failed = g_malloc.disarm();
        if (got != right && got != "OutOfMemory") _exit(2);
        if (outcome_of([&] { return sha256(data); }) != right) _exit(3);
        _exit(failed != 0 ? 0 : 1);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status) << " at allocation " << n;
      ASSERT_LE(WEXITSTATUS(status), 1) << "at allocation " << n << (forever ? " and all after it" : "");
      if (WEXITSTATUS(status) == 1) break;
    }
  }
}

}  // namespace
}  // namespace offloop::hash
