// After the pool was shut down everything ends, once, with an error, and nothing is left behind. The shutdown is for
// good: a program of its own.
#include <gtest/gtest.h>
#include <sched.h>

#include "offloop/hash/file_reader.h"
#include "offloop/hash/hash.h"
#include "offloop/hash/piece_stream.h"
#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/temp_dir.h"

namespace offloop::hash {
namespace {

using offloop::testing::Bytes;
using offloop::testing::chunk_of;
using offloop::testing::noise_bytes;
using offloop::testing::PieceProbe;
using runtime::Outcome;

// The first test: the pool is open when it begins.
TEST(ClosedPool, AStreamIsNotEndedBehindItsFeedersBack) {
  const Bytes data = noise_bytes(64 * 1024, 1);
  PieceProbe probe;
  probe.when_consumed = [] {  // the shutdown finds the stream on a worker, between two chunks
    while (!runtime::g_stop_all.load()) ::sched_yield();
  };
  PieceStream* stream = PieceStream::create(Algorithm::sha256(), probe);
  {
    offloop::testing::BusyWorkers busy;
    ASSERT_TRUE(stream->feed(chunk_of(data)));
    ASSERT_TRUE(stream->feed(chunk_of(data)));
  }
  ASSERT_TRUE(probe.wait_for_consumed(1));
  runtime::Pool::shutdown(60'000'000'000);
  EXPECT_EQ(probe.consumed(), 2 * data.size()) << "who waits for room must hear of it";
  EXPECT_EQ(stream->chunks(), 0U);
  EXPECT_EQ(probe.ends(), 0);
  EXPECT_FALSE(stream->feed(chunk_of(data)));
  EXPECT_EQ(probe.ends(), 0);
  stream->abort();
  EXPECT_EQ(probe.ends(), 1);
  EXPECT_EQ(probe.outcome(), Outcome::kStopped);
  stream->drop();
}

TEST(ClosedPool, OperationsAreRefused) {
  const Bytes data = noise_bytes(1000, 1);
  EXPECT_EQ(sha256(data).get().error().code, ErrorCode::kPoolClosed);
  EXPECT_EQ(digest(data, "sha1").get().error().code, ErrorCode::kPoolClosed);
  EXPECT_EQ(sha256_now(data).hex(), offloop::testing::openssl_hex(data)) << "on the calling thread it still works";
}

TEST(ClosedPool, AStreamEndsWithItsFeeder) {
  const Bytes data = noise_bytes(1024, 1);
  for (const int end : {0, 1, 2}) {
    PieceProbe probe;
    PieceStream* stream = PieceStream::create(Algorithm::sha256(), probe);
    EXPECT_FALSE(stream->feed(chunk_of(data)));
    EXPECT_FALSE(stream->feed(chunk_of(data)));
    EXPECT_EQ(probe.ends(), 0);
    probe.drop_at_end = stream;
    if (end == 0) stream->abort();
    if (end == 1) stream->finish();
    if (end == 2) stream->feed_last(chunk_of(data));
    EXPECT_EQ(probe.ends(), 1);
    EXPECT_EQ(probe.outcome(), Outcome::kStopped);

    PieceProbe unfed;
    unfed.drop_at_end = PieceStream::create(Algorithm::sha256(), unfed);
    if (end == 0) unfed.drop_at_end->abort();
    if (end == 1) unfed.drop_at_end->finish();
    if (end == 2) unfed.drop_at_end->feed_last(chunk_of(data));
    EXPECT_EQ(unfed.ends(), 1);
  }
}

TEST(ClosedPool, AFileEndsWithThatError) {
  const offloop::testing::TempDir dir;
  EXPECT_EQ(file_digest(dir.write("small", Bytes(10))).get().error().code, ErrorCode::kPoolClosed);
  EXPECT_EQ(file_digest(dir.write("large", Bytes(3'000'000))).get().error().code, ErrorCode::kPoolClosed);
  EXPECT_EQ(file_digest(dir / "missing").get().error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace offloop::hash
