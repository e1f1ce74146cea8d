// Operations for C++ programs: get(), then(), co_await.
#include "offloop/hash/hash.h"

#include <gtest/gtest.h>

#include <atomic>
#include <coroutine>
#include <exception>

#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/test_pool.h"

namespace offloop::hash {
namespace {

using offloop::testing::BusyWorkers;
using offloop::testing::Bytes;
using offloop::testing::comes_true;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;

TEST(Hash, GetGivesTheDigest) {
  const Bytes data = noise_bytes(100'003, 1);
  EXPECT_EQ(sha256(data).get().value().hex(), openssl_hex(data));
  EXPECT_EQ(sha256({}).get().value().hex(), openssl_hex({}));
  EXPECT_EQ(sha256_now(data).hex(), openssl_hex(data));
  EXPECT_EQ(digest(data, "sha512").get().value().hex(), openssl_hex(data, "SHA512"));
  EXPECT_EQ(digest(data, "sha256").get().value().hex(), openssl_hex(data));
}

TEST(Hash, ThenIsCalledOnceWhetherItHasEndedOrNot) {
  const Bytes data = noise_bytes(50'000, 2);
  std::atomic<int> calls{0};
  std::string hex;
  {
    BusyWorkers busy;
    Operation<Digest> op = sha256(data);
    EXPECT_FALSE(op.done());
    op.then([&](Result<Digest>& result) noexcept {
      hex = result.value().hex();
      calls.fetch_add(1);
    });
    EXPECT_EQ(calls.load(), 0) << "it cannot have ended";
  }
  ASSERT_TRUE(comes_true([&] { return calls.load() == 1; }));
  EXPECT_EQ(hex, openssl_hex(data));

  Operation<Digest> ended = sha256(data);
  ASSERT_TRUE(comes_true([&] { return ended.done(); }));
  ended.then([&](Result<Digest>& result) noexcept { calls.fetch_add(result.ok() ? 1 : 100); });
  ASSERT_TRUE(comes_true([&] { return calls.load() == 2; }));
}

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

Detached hash_twice(ByteSpan data, std::string& out, std::atomic<int>& done) {
  Operation<Digest> first = sha256(data);
  const Result<Digest> one = co_await first;
  // Resumed on a worker: there the second one runs at once.
  Operation<Digest> second = sha256(one.value().span());
  const Result<Digest> two = co_await second;
  out = two.value().hex();
  done.store(1);
}

TEST(Hash, IsAwaitable) {
  const Bytes data = noise_bytes(70'000, 3);
  std::string hex;
  std::atomic<int> done{0};
  {
    BusyWorkers busy;  // so that it really suspends
    hash_twice(data, hex, done);
    EXPECT_EQ(done.load(), 0);
  }
  ASSERT_TRUE(comes_true([&] { return done.load() == 1; }));
  EXPECT_EQ(hex, openssl_hex(sha256_now(data).span()));
}

TEST(Hash, OnAWorkerItRunsAtOnce) {
  const Bytes data = noise_bytes(10'000, 4);
  for (const char* name : {"sha256", "sha512", "md5"}) {
    Operation<bool> outer = spawn([&](StopToken) {
      Operation<Digest> op = digest(data, name);
      return op.done() && op.get().value().hex() == digest(data, name).get().value().hex();
    });
    EXPECT_TRUE(outer.get().value()) << name;
  }
  Operation<std::string> inner = spawn([&](StopToken) { return sha256(data).get().value().hex(); });
  EXPECT_EQ(inner.get().value(), openssl_hex(data));
  Operation<std::string> other = spawn([&](StopToken) { return digest(data, "sha3_256").get().value().hex(); });
  EXPECT_EQ(other.get().value(), openssl_hex(data, "SHA3-256"));
}

TEST(Hash, AnUnknownAlgorithmIsAnErrorAndNothingRuns) {
  Operation<Digest> op = digest({}, "nonsense");
  EXPECT_TRUE(op.done());
  EXPECT_EQ(op.get().error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(file_digest("/", "nonsense").get().error().code, ErrorCode::kInvalidArgument);
}

TEST(Hash, StoppedWhileQueuedEndsAsStopped) {
  const Bytes data = noise_bytes(10'000, 5);
  for (const char* name : {"sha256", "sha1"}) {
    BusyWorkers busy;
    Operation<Digest> op = digest(data, name);
    op.request_stop();
    busy.release();
    EXPECT_EQ(op.get().error().code, ErrorCode::kStopped) << name;
  }
}

TEST(Hash, ADroppedHandleNeitherCancelsNorLeaks) {
  const Bytes data = noise_bytes(10'000, 6);
  std::atomic<bool> called{false};
  {
    BusyWorkers busy;
    { Operation<Digest> dropped = sha256(data); }
    { Operation<Digest> dropped = digest(data, "sha1"); }
    Operation<Digest> op = sha256(data);
    op.then([&](Result<Digest>& r) noexcept { called.store(r.ok()); });
  }
  EXPECT_TRUE(comes_true([&] { return called.load(); }));
  EXPECT_TRUE(offloop::testing::pool_comes_to_rest());
}

}  // namespace
}  // namespace offloop::hash
