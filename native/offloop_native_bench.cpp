// offloop-native-bench hash FILE                     the native contender of `offloop bench`, hashing
// offloop-native-bench fetch FILE MAX_CONCURRENT     the same, fetching and hashing
//
// A hash FILE holds payloads, a fetch FILE URLs, as bench_rounds.h says. Answers are digests.
#include <memory>
#include <semaphore>

#include "bench_rounds.h"
#include "offloop/hash/hash.h"
#include "offloop/pipeline/fetch_hash.h"

namespace {

using namespace bench;

constexpr const char* kProgram = "offloop-native-bench";

class HashWork {
 public:
  bool read(const char* path) { return read_payloads(path, payloads_); }

  [[nodiscard]] std::size_t size() const { return payloads_.size(); }

  /// All payloads at once, as the TaskGroup of the other variants.
  void run(std::vector<offloop::hash::Digest>& digests) const {
    std::vector<offloop::Operation<offloop::hash::Digest>> operations;
    operations.reserve(payloads_.size());
    for (const auto& payload : payloads_) operations.push_back(offloop::hash::sha256(payload));
    for (std::size_t i = 0; i < operations.size(); ++i) digests[i] = take(operations[i].get());
  }

  /// The same with the time at which each ended, since the burst began.
  void probe(std::vector<offloop::hash::Digest>& digests, std::vector<std::int64_t>& latencies_ns) const {
    Countdown left(payloads_.size());
    const auto start = Clock::now();
    for (std::size_t i = 0; i < payloads_.size(); ++i) {
      offloop::hash::sha256(payloads_[i]).then([&, i](offloop::Result<offloop::hash::Digest>& digest) noexcept {
        digests[i] = take(digest);
        latencies_ns[i] = ns_since(start);
        left.one_ended();
      });
    }
    left.wait();
  }

 private:
  // A digest that is all zero is no SHA-256 of any payload: whoever compares the answers sees it.
  static offloop::hash::Digest take(const offloop::Result<offloop::hash::Digest>& digest) {
    return digest.ok() ? digest.value() : offloop::hash::Digest{};
  }

  std::vector<std::vector<std::uint8_t>> payloads_;
};

class FetchWork {
 public:
  bool read(const char* path, std::size_t max_concurrent) {
    max_concurrent_ = max_concurrent;
    offloop::fetch::FetcherOptions options;
    options.timeout = kTimeoutSeconds;
    options.decompress = false;
    if (!(parse_into(options.max_concurrent, max_concurrent))) return false;
    auto made = offloop::pipeline::HashingFetcher::create(options);
    if (!made.ok()) return false;
    fetcher_ = std::move(made.value());
    return read_urls(path, urls_);
  }

  [[nodiscard]] std::size_t size() const { return urls_.size(); }

  /// At most max_concurrent at a time; an item is due when its turn comes.
  void run(Burst& burst) const {
    std::counting_semaphore<> free(static_cast<std::ptrdiff_t>(max_concurrent_));
    Countdown left(urls_.size());
    for (std::size_t i = 0; i < urls_.size(); ++i) {
      free.acquire();
      const auto due = Clock::now();
      fetcher_->fetch_and_hash(urls_[i]).then(
          [&, i, due](offloop::Result<offloop::pipeline::HashedBody>& body) noexcept {
            burst.answers[i] = body.ok() ? body.value().digest.hex() : body.error().message;
            burst.latencies_ns[i] = ns_since(due);
            free.release();
            left.one_ended();
          });
    }
    left.wait();
  }

 private:
  template <typename Number>
  static bool parse_into(Number& number, std::size_t value) {
    number = static_cast<Number>(value);
    return value > 0 && static_cast<std::size_t>(number) == value;
  }

  std::vector<std::string> urls_;
  std::size_t max_concurrent_ = 0;
  std::unique_ptr<offloop::pipeline::HashingFetcher> fetcher_;
};

bool round_of(const HashWork& work, std::size_t n, bool probed) {
  std::vector<std::vector<offloop::hash::Digest>> digests(n, std::vector<offloop::hash::Digest>(work.size()));
  std::vector<Burst> bursts(n, Burst(work.size()));
  const auto start = Clock::now();
  for (std::size_t b = 0; b < n; ++b) {
    probed ? work.probe(digests[b], bursts[b].latencies_ns) : work.run(digests[b]);
  }
  const double seconds = static_cast<double>(ns_since(start)) / 1e9;
  for (std::size_t b = 0; b < n; ++b) {
    for (std::size_t i = 0; i < work.size(); ++i) bursts[b].answers[i] = digests[b][i].hex();
  }
  return print(seconds, bursts, probed);
}

bool round_of(const FetchWork& work, std::size_t n, bool probed) {
  std::vector<Burst> bursts(n, Burst(work.size()));
  const auto start = Clock::now();
  for (Burst& burst : bursts) work.run(burst);
  return print(static_cast<double>(ns_since(start)) / 1e9, bursts, probed);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  std::size_t max_concurrent = 0;
  if (what == "hash" && argc == 3) {
    HashWork work;
    return work.read(argv[2]) ? serve(work, kProgram) : unreadable(argv[2], kProgram);
  }
  if (what == "fetch" && argc == 4 && parse(argv[3], max_concurrent)) {
    FetchWork work;
    return work.read(argv[2], max_concurrent) ? serve(work, kProgram) : unreadable(argv[2], kProgram);
  }
  std::fputs("usage: offloop-native-bench hash FILE\n       offloop-native-bench fetch FILE MAX_CONCURRENT\n", stderr);
  return kExitUsage;
}
