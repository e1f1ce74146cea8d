// Messages that arrive in pieces.
#include "offloop/hash/piece_stream.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>

#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/test_pool.h"

namespace offloop::hash {
namespace {

using offloop::testing::BusyWorkers;
using offloop::testing::Bytes;
using offloop::testing::chunk_of;
using offloop::testing::comes_true;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::PieceProbe;
using offloop::testing::resize_pool;
using runtime::Outcome;

/// The stream with its listener; dropped with it, after the end.
struct Piece {
  explicit Piece(const Algorithm& algorithm = Algorithm::sha256()) : stream(PieceStream::create(algorithm, probe)) {}
  ~Piece() { stream->drop(); }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  PieceProbe probe;
  PieceStream* stream;
};

/// Feeds the message in pieces of these sizes over and over; what is left (odd or not) is the last.
void feed_all(PieceStream& stream, ByteSpan message, const std::vector<std::size_t>& sizes) {
  for (std::size_t i = 0; message.size() > sizes[i % sizes.size()]; ++i) {
    const std::size_t n = sizes[i % sizes.size()];
    ASSERT_TRUE(stream.feed(chunk_of(message.first(n))));
    message = message.subspan(n);
  }
  stream.feed_last(chunk_of(message));
}

TEST(PieceStream, PiecesOfMultiplesOf64AndAnOddEndAreOneMessage) {
  for (const std::size_t total : {1U, 64U, 65U, 4096U, 100'001U, 1'000'000U}) {
    const Bytes message = noise_bytes(total, total);
    for (const auto& sizes : std::vector<std::vector<std::size_t>>{{64}, {64 * 1024}, {64, 128, 4096}, {kChunkBytes}}) {
      if (total / sizes[0] > 5000) continue;
      Piece piece;
      feed_all(*piece.stream, message, sizes);
      ASSERT_TRUE(piece.probe.wait());
      EXPECT_EQ(piece.probe.outcome(), Outcome::kValue);
      EXPECT_EQ(piece.probe.hex(), openssl_hex(message)) << total << " in " << sizes[0];
    }
  }
}

TEST(PieceStream, EveryAlgorithmTakesPieces) {
  const Bytes message = noise_bytes(700'003, 8);
  const std::vector<std::pair<const char*, const char*>> names = {{"sha256", "SHA256"},      {"sha1", "SHA1"},
                                                                  {"sha512", "SHA512"},      {"sha3_384", "SHA3-384"},
                                                                  {"blake2b", "BLAKE2b512"}, {"md5", "MD5"}};
  for (const auto& [name, openssl] : names) {
    Piece piece(*Algorithm::find(name).value());
    feed_all(*piece.stream, message, {64, 256 * 1024, 64 * 1024});
    ASSERT_TRUE(piece.probe.wait());
    EXPECT_EQ(piece.probe.hex(), openssl_hex(message, openssl)) << name;
  }
}

TEST(PieceStream, FinishEndsTheMessageWithNothingMore) {
  const Bytes message = noise_bytes(64 * 1000, 3);
  Piece queued;  // finish() while its chunks wait
  {
    BusyWorkers busy;
    for (std::size_t i = 0; i < 10; ++i)
      ASSERT_TRUE(queued.stream->feed(chunk_of(ByteSpan(message).subspan(i * 6400, 6400))));
    queued.stream->finish();
  }
  ASSERT_TRUE(queued.probe.wait());
  EXPECT_EQ(queued.probe.hex(), openssl_hex(message));
  EXPECT_EQ(queued.probe.consumed(), message.size() - 6400) << "the last chunk is told by on_end()";

  Piece idle;  // finish() when all has been hashed
  ASSERT_TRUE(idle.stream->feed(chunk_of(message)));
  ASSERT_TRUE(idle.probe.wait_for_consumed(1));
  idle.stream->finish();
  ASSERT_TRUE(idle.probe.wait());
  EXPECT_EQ(idle.probe.hex(), openssl_hex(message));
}

TEST(PieceStream, AnEmptyMessageHasADigest) {
  for (const char* name : {"sha256", "sha1"}) {
    const std::string empty = openssl_hex({}, name[3] == '2' ? "SHA256" : "SHA1");
    Piece finished(*Algorithm::find(name).value());
    finished.stream->finish();
    ASSERT_TRUE(finished.probe.wait());
    EXPECT_EQ(finished.probe.hex(), empty);
    Piece fed(*Algorithm::find(name).value());
    fed.stream->feed_last(chunk_of({}));
    ASSERT_TRUE(fed.probe.wait());
    EXPECT_EQ(fed.probe.hex(), empty);
  }
}

TEST(PieceStream, ChunksWaitInOrderWhileWorkersAreBusy) {
  const Bytes message = noise_bytes(50 * 64 + 7, 9);
  Piece piece;
  {
    BusyWorkers busy;
    for (std::size_t i = 0; i < 50; ++i)
      ASSERT_TRUE(piece.stream->feed(chunk_of(ByteSpan(message).subspan(i * 64, 64))));
    EXPECT_EQ(piece.stream->chunks(), 50U);
    piece.stream->feed_last(chunk_of(ByteSpan(message).subspan(50 * 64)));
    EXPECT_EQ(piece.stream->chunks(), 51U);
    EXPECT_EQ(piece.probe.consumed(), 0U);
  }
  ASSERT_TRUE(piece.probe.wait());
  EXPECT_EQ(piece.probe.hex(), openssl_hex(message));
  EXPECT_EQ(piece.probe.consumed(), 50U * 64) << "the last chunk is told by on_end()";
}

TEST(PieceStream, AnAbortEndsItOnceWhateverItWasDoing) {
  const Bytes data = noise_bytes(64 * 1024, 4);
  Piece fresh;
  fresh.stream->abort();
  ASSERT_TRUE(fresh.probe.wait());

  Piece idle;
  ASSERT_TRUE(idle.stream->feed(chunk_of(data)));
  ASSERT_TRUE(idle.probe.wait_for_consumed(1));
  idle.stream->abort();
  ASSERT_TRUE(idle.probe.wait());

  Piece queued;
  {
    BusyWorkers busy;
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(queued.stream->feed(chunk_of(data)));
    queued.stream->abort();
    EXPECT_EQ(queued.probe.ends(), 0);
  }
  ASSERT_TRUE(queued.probe.wait());
  EXPECT_EQ(queued.probe.consumed(), 0U) << "not a byte was hashed after the abort";

  for (Piece* piece : {&fresh, &idle, &queued}) {
    EXPECT_EQ(piece->probe.outcome(), Outcome::kStopped);
    piece->stream->abort();
    piece->stream->finish();
    piece->stream->feed_last(chunk_of(data));
  }
  ASSERT_TRUE(offloop::testing::pool_comes_to_rest());
  for (Piece* piece : {&fresh, &idle, &queued}) EXPECT_EQ(piece->probe.ends(), 1);
}

TEST(PieceStream, AnAbortEndsAStreamThatIsBeingFed) {
  const Bytes data = noise_bytes(16 * 1024, 4);
  Piece piece;
  std::atomic<bool> enough{false};
  std::thread feeder([&] {
    while (!enough.load()) {
      if (piece.stream->chunks() < 8) {
        piece.stream->feed(chunk_of(data));  // true or false: it may have ended by now
      } else {
        ::sched_yield();
      }
    }
  });
  EXPECT_TRUE(piece.probe.wait_for_consumed(20));
  piece.stream->abort();
  EXPECT_TRUE(piece.probe.wait());
  EXPECT_EQ(piece.probe.outcome(), Outcome::kStopped);
  enough.store(true);
  feeder.join();
  EXPECT_EQ(piece.probe.ends(), 1);
}

TEST(PieceStream, AnAbortAfterFinishChangesNothing) {
  const Bytes data = noise_bytes(64 * 1024, 4);
  Piece piece;
  {
    BusyWorkers busy;
    piece.stream->feed_last(chunk_of(data));
    piece.stream->abort();
  }
  ASSERT_TRUE(piece.probe.wait());
  EXPECT_EQ(piece.probe.outcome(), Outcome::kValue);
  EXPECT_EQ(piece.probe.hex(), openssl_hex(data));
}

TEST(PieceStream, TheOwnerMayDropItFromItsEndWhileTheFeederReturns) {
  const Bytes data = noise_bytes(100, 4);
  // The worker frees the stream while feed_last() is on its way back: many times, because it is a race.
  for (int round = 0; round < 2000; ++round) {
    PieceProbe probe;
    probe.drop_at_end =
        PieceStream::create(round % 2 == 0 ? Algorithm::sha256() : *Algorithm::find("md5").value(), probe);
    if (round % 3 == 0) {
      probe.drop_at_end->finish();
    } else if (round % 3 == 1) {
      probe.drop_at_end->feed_last(chunk_of(data));
    } else {
      probe.drop_at_end->abort();
    }
    ASSERT_TRUE(probe.wait());
  }
}

TEST(PieceStream, AStreamThatWasNeverFedIsJustDropped) {
  PieceProbe probe;
  PieceStream::create(Algorithm::sha256(), probe)->drop();
  EXPECT_EQ(probe.ends(), 0);
}

TEST(PieceStream, AFailureOfTheHashFunctionIsToldOnlyAfterTheFeedersEnd) {
  const EVP_MD* method = offloop::testing::failing_method();
  if (method == nullptr) GTEST_SKIP() << "this OpenSSL runs MD4";
  const Algorithm broken("md4", 16, method);
  const Bytes data = noise_bytes(64 * 1024, 4);
  for (const int end : {0, 1, 2}) {
    Piece piece(broken);
    ASSERT_TRUE(piece.stream->feed(chunk_of(data)));
    ASSERT_TRUE(piece.probe.wait_for_consumed(1)) << "who waits for room must hear of it";
    EXPECT_EQ(piece.stream->chunks(), 0U);
    EXPECT_FALSE(piece.stream->feed(chunk_of(data)));
    EXPECT_EQ(piece.probe.ends(), 0);
    if (end == 0) piece.stream->abort();
    if (end == 1) piece.stream->finish();
    if (end == 2) piece.stream->feed_last(chunk_of(data));
    EXPECT_EQ(piece.probe.ends(), 1);
    EXPECT_EQ(piece.probe.outcome(), Outcome::kError);
    piece.stream->abort();
    EXPECT_EQ(piece.probe.ends(), 1);
  }
  Piece at_once(broken);
  at_once.stream->feed_last(chunk_of(data));
  ASSERT_TRUE(at_once.probe.wait());
  EXPECT_EQ(at_once.probe.outcome(), Outcome::kError);
}

TEST(PieceStream, ManyStreamsFedFromSeveralThreadsWithAbortsAmongThem) {
  ASSERT_TRUE(resize_pool(3));
  const Bytes text = noise_bytes(1 << 20, 77);
  constexpr std::size_t kThreads = 4, kEach = 40;
  std::vector<std::thread> feeders;
  for (std::size_t t = 0; t < kThreads; ++t) {
    feeders.emplace_back([&, t] {
      std::mt19937_64 random(t);
      struct Fed {
        std::unique_ptr<Piece> piece;
        std::size_t at = 0, end = 0;
        bool aborts = false;
      };
      std::deque<Fed> all(kEach), open;
      std::vector<std::pair<std::unique_ptr<Piece>, std::size_t>> done;
      for (Fed& fed : all) {
        const Algorithm& algorithm = random() % 4 == 0 ? *Algorithm::find("sha1").value() : Algorithm::sha256();
        fed.piece = std::make_unique<Piece>(algorithm);
        fed.end = random() % (1ULL << (random() % 20));
        fed.aborts = random() % 4 == 0;
      }
      std::atomic<Piece*> victim{nullptr};
      std::atomic<bool> over{false};
      std::thread killer([&] {
        while (!over.load()) {
          if (Piece* piece = victim.exchange(nullptr)) piece->stream->abort();
          ::sched_yield();
        }
      });
      std::vector<Fed*> live;
      for (Fed& fed : all) live.push_back(&fed);
      while (!live.empty()) {
        const std::size_t i = random() % live.size();
        Fed& fed = *live[i];
        const std::size_t n = std::min<std::size_t>(64 * (1 + random() % 1000), fed.end - fed.at);
        const ByteSpan span = ByteSpan(text).subspan(fed.at, n);
        fed.at += n;
        if (fed.aborts && fed.at >= fed.end / 2) {
          if (random() % 2 == 0) {
            fed.piece->stream->abort();
          } else {
            victim.store(fed.piece.get());
            while (victim.load() != nullptr) fed.piece->stream->feed(chunk_of(ByteSpan(text).first(64)));
          }
        } else if (fed.at == fed.end) {
          fed.piece->stream->feed_last(chunk_of(span));
        } else {
          fed.piece->stream->feed(chunk_of(span));
          continue;
        }
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
      }
      for (Fed& fed : all) {
        EXPECT_TRUE(fed.piece->probe.wait());
        EXPECT_EQ(fed.piece->probe.ends(), 1);
        const bool sha1 = fed.piece->probe.hex().size() == 40;
        if (fed.aborts) {
          EXPECT_EQ(fed.piece->probe.outcome(), Outcome::kStopped);
        } else {
          EXPECT_EQ(fed.piece->probe.hex(), openssl_hex(ByteSpan(text).first(fed.end), sha1 ? "SHA1" : "SHA256"));
        }
      }
      over.store(true);
      killer.join();
    });
  }
  for (std::thread& feeder : feeders) feeder.join();
}

TEST(Chunk, IsAlignedAndComesBackEmpty) {
  for (const std::size_t capacity : {std::size_t{64}, std::size_t{100}, kChunkBytes}) {
    for (int round = 0; round < 3; ++round) {
      Chunk* chunk = make_chunk(capacity);
      ASSERT_NE(chunk, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(chunk->data()) % 64, 0U);
      EXPECT_EQ(chunk->capacity, capacity);
      EXPECT_EQ(chunk->size, 0U);
      EXPECT_EQ(chunk->next, nullptr);
      chunk->size = capacity;
      chunk->next = chunk;
      free_chunk(chunk);
    }
  }
  free_chunk(nullptr);
}

}  // namespace
}  // namespace offloop::hash
