// Every allocation fails once, and every allocation from some point on: the operation ends with "out of memory" or as
// if nothing had happened, nothing is lost, and the next one is as good as ever.
#include "support/every_allocation.h"

#include <gtest/gtest.h>

#include "offloop/hash/hash.h"
#include "support/hash_probe.h"
#include "support/temp_dir.h"

namespace offloop::hash {
namespace {

using offloop::testing::Bytes;
using offloop::testing::fail_every_allocation;
using offloop::testing::fail_every_allocation_of_a_process;
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

/// The pool is made once a process.
TEST(OutOfMemory, TheStartOfThePool) {
  const Bytes data = noise_bytes(100'000, 3);
  fail_every_allocation_of_a_process([&] { return outcome_of([&] { return sha256(data); }); }, openssl_hex(data), 10);
}

}  // namespace
}  // namespace offloop::hash
