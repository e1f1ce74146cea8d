// Streams of every algorithm, in spans.
#include "offloop/hash/stream.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/counters_listener.h"
#include "support/hash_probe.h"

namespace offloop::hash {
namespace {

using offloop::testing::Bytes;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::StreamSink;

/// A stream over a message cut at given places; brings the next span whenever it is asked.
struct Cut {
  Bytes message;
  std::vector<std::size_t> sizes;  ///< of the spans; the last one is what is left
  std::size_t at = 0;
  std::size_t next = 0;
  StreamHandle stream;

  void set_next(StreamWork& work) {
    const bool last = next == sizes.size();
    const std::size_t n = last ? message.size() - at : sizes[next];
    set_stream_span(work, {message.data() + at, n}, last);
    at += n;
    ++next;
  }
  static StreamWork::Next more(StreamWork* work) noexcept {
    static_cast<Cut*>(work->user)->set_next(*work);
    return StreamWork::Next::kMore;
  }
  void submit(const Algorithm& algorithm, StreamSink& sink) {
    stream = make_stream(algorithm);
    stream->sink = &sink;
    stream->user = this;
    stream->next_span = more;
    set_next(*stream);
    ASSERT_TRUE(runtime::Pool::instance()->submit(stream.get()));
  }
};

TEST(Stream, SpansOfAnySizesAreOneMessageForEveryAlgorithm) {
  for (const auto& [name, openssl] :
       {std::pair{"sha256", "SHA256"}, {"sha512", "SHA512"}, {"sha3_256", "SHA3-256"}, {"md5", "MD5"}}) {
    const Algorithm& algorithm = *Algorithm::find(name).value();
    std::vector<Cut> cuts(40);
    StreamSink sink;
    std::uint64_t x = 12345;
    for (std::size_t i = 0; i < cuts.size(); ++i) {
      std::size_t total = 0;
      const std::size_t n = i % 8;
      for (std::size_t j = 0; j < n; ++j) {
        x = x * 6364136223846793005 + 1442695040888963407;
        // Also empty spans, exactly a quantum, one block more and less.
        const std::size_t blocks[] = {0, 1, 1023, 1024, 1025, 4096, 4097, (x >> 33) % 3000};
        cuts[i].sizes.push_back(64 * blocks[(x >> 50) % 8]);
        total += cuts[i].sizes.back();
      }
      cuts[i].message = noise_bytes(total + i % 3 * ((x >> 40) % 200), i);
    }
    for (Cut& cut : cuts) cut.submit(algorithm, sink);
    ASSERT_TRUE(sink.wait_for(cuts.size()));
    for (const Cut& cut : cuts) {
      EXPECT_EQ(cut.stream->outcome, runtime::Outcome::kValue);
      EXPECT_EQ(cut.stream->digest.hex(), openssl_hex(cut.message, openssl)) << name << ", " << cut.message.size();
    }
  }
}

TEST(Stream, AtTheQuantumOfEvpNothingIsLost) {
  StreamSink sink;
  std::vector<Cut> cuts;
  constexpr std::size_t kQuantum = 256 * 1024;
  for (const std::size_t size :
       {kQuantum - 1, kQuantum, kQuantum + 1, 2 * kQuantum, 2 * kQuantum + 1, 3 * kQuantum - 1})
    cuts.push_back({noise_bytes(size, size), {}, 0, 0, nullptr});
  cuts.push_back({noise_bytes(2 * kQuantum, 1), {kQuantum, kQuantum}, 0, 0, nullptr});  // the last span is empty
  for (Cut& cut : cuts) cut.submit(*Algorithm::find("sha1").value(), sink);
  ASSERT_TRUE(sink.wait_for(cuts.size()));
  for (const Cut& cut : cuts)
    EXPECT_EQ(cut.stream->digest.hex(), openssl_hex(cut.message, "SHA1")) << cut.message.size();
}

TEST(Stream, AWorkIsUsedAgainAfterItsEnd) {
  StreamSink sink;
  Sha256Work work;
  work.sink = &sink;
  for (std::size_t i = 0; i < 5; ++i) {
    const Bytes message = noise_bytes(i * 40'000 + i, i);
    work.set_message(message, sha256_group());
    ASSERT_TRUE(runtime::Pool::instance()->submit(&work));
    ASSERT_TRUE(sink.wait_for(i + 1));
    EXPECT_EQ(work.digest.hex(), openssl_hex(message));
  }
}

TEST(Stream, AnAlgorithmThatOpenSslRefusesEndsAsAnError) {
  const EVP_MD* method = offloop::testing::failing_method();
  if (method == nullptr) GTEST_SKIP() << "this OpenSSL runs MD4";
  const Algorithm broken("md4", 16, method);
  StreamSink sink;
  StreamHandle stream = make_stream(broken);
  stream->sink = &sink;
  set_stream_span(*stream, {}, true);
  ASSERT_TRUE(runtime::Pool::instance()->submit(stream.get()));
  ASSERT_TRUE(sink.wait_for(1));
  EXPECT_EQ(stream->outcome, runtime::Outcome::kError);
}

TEST(Stream, CostGrowsWithBytesAndSaturates) {
  EXPECT_GT(sha256_cost_ns(0), 0U);
  EXPECT_GT(sha256_cost_ns(1 << 20), sha256_cost_ns(1 << 10));
  EXPECT_EQ(sha256_cost_ns(std::numeric_limits<std::uint64_t>::max() - 128), std::numeric_limits<std::uint32_t>::max());
  EXPECT_EQ(sha256_bytes_within(0), 0U);
  EXPECT_GT(sha256_bytes_within(2000), sha256_bytes_within(1000));
}

}  // namespace
}  // namespace offloop::hash
