// offloop-native-bench hash FILE                     the native contender of `offloop bench`, hashing
// offloop-native-bench fetch FILE MAX_CONCURRENT     the same, fetching and hashing
//
// A hash FILE holds payloads: 8 bytes of size, little-endian, then the bytes, again and again. A fetch FILE holds URLs,
// one a line. Each line on standard input ("time N" or "probe N") is one round of N bursts; answered by one line of
// JSON: the seconds of all bursts, the digests of each burst in order, and in a probed round what every item took.
// It reads its input before the clock starts and stays between rounds, so that neither start-up nor reading counts.
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <string_view>
#include <vector>

#include "offloop/hash/hash.h"
#include "offloop/pipeline/fetch_hash.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kExitOk = 0;
constexpr int kExitUsage = 2;
constexpr int kExitInputUnreadable = 3;
constexpr int kExitOutputFailed = 4;
constexpr double kTimeoutSeconds = 120;

std::int64_t ns_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

/// Waits until n items have ended; may be destroyed as soon as wait() has returned (a std::latch may not).
class Countdown {
 public:
  explicit Countdown(std::size_t n) : left_(n) {}
  void one_ended() noexcept {
    const std::lock_guard lock(mutex_);
    if (--left_ == 0) all_ended_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable all_ended_;
  std::size_t left_;
};

/// What a burst gave; an item that failed has an error instead of a digest.
struct Burst {
  explicit Burst(std::size_t n) : digests(n), latencies_ns(n) {}
  std::vector<std::string> digests;
  std::vector<std::int64_t> latencies_ns;
};

class HashWork {
 public:
  bool read(const char* path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    auto left = file ? static_cast<std::uint64_t>(file.tellg()) : 0;
    file.seekg(0);
    std::uint8_t head[8];
    while (left >= sizeof head && file.read(reinterpret_cast<char*>(head), sizeof head)) {
      left -= sizeof head;
      std::uint64_t size = 0;
      for (int i = 7; i >= 0; --i) size = size << 8 | head[i];
      if (size > left) return false;
      auto& payload = payloads_.emplace_back(size);
      if (!file.read(reinterpret_cast<char*>(payload.data()), static_cast<std::streamsize>(size))) return false;
      left -= size;
    }
    return left == 0 && !payloads_.empty();
  }

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
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      if (!line.empty()) urls_.push_back(line);
    }
    max_concurrent_ = max_concurrent;
    offloop::fetch::FetcherOptions options;
    options.timeout = kTimeoutSeconds;
    options.decompress = false;
    if (!(parse_into(options.max_concurrent, max_concurrent))) return false;
    auto made = offloop::pipeline::HashingFetcher::create(options);
    if (!made.ok()) return false;
    fetcher_ = std::move(made.value());
    return !urls_.empty();
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
            burst.digests[i] = body.ok() ? body.value().digest.hex() : body.error().message;
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

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  out += '"';
}

/// False when standard output could not be written.
bool print(double seconds, const std::vector<Burst>& bursts, bool probed) {
  std::string out = "{\"seconds\": " + std::to_string(seconds) + ", \"bursts\": [";
  for (const Burst& burst : bursts) {
    out += &burst == bursts.data() ? "[" : ", [";
    for (const std::string& digest : burst.digests) {
      if (&digest != burst.digests.data()) out += ", ";
      append_quoted(out, digest);
    }
    out += "]";
  }
  out += "], \"latencies_ns\": [";
  const char* comma = "";
  for (const Burst& burst : bursts) {
    if (!probed) break;
    for (const std::int64_t latency_ns : burst.latencies_ns) out += comma + std::to_string(latency_ns), comma = ", ";
  }
  out += "]}\n";
  std::fputs(out.c_str(), stdout);
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

bool round_of(const HashWork& work, std::size_t n, bool probed) {
  std::vector<std::vector<offloop::hash::Digest>> digests(n, std::vector<offloop::hash::Digest>(work.size()));
  std::vector<Burst> bursts(n, Burst(work.size()));
  const auto start = Clock::now();
  for (std::size_t b = 0; b < n; ++b) {
    probed ? work.probe(digests[b], bursts[b].latencies_ns) : work.run(digests[b]);
  }
  const double seconds = static_cast<double>(ns_since(start)) / 1e9;
  for (std::size_t b = 0; b < n; ++b) {
    for (std::size_t i = 0; i < work.size(); ++i) bursts[b].digests[i] = digests[b][i].hex();
  }
  return print(seconds, bursts, probed);
}

bool round_of(const FetchWork& work, std::size_t n, bool probed) {
  std::vector<Burst> bursts(n, Burst(work.size()));
  const auto start = Clock::now();
  for (Burst& burst : bursts) work.run(burst);
  return print(static_cast<double>(ns_since(start)) / 1e9, bursts, probed);
}

bool parse(std::string_view text, std::size_t& value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && rest == text.data() + text.size() && value > 0;
}

template <typename Work>
int serve(const Work& work) {
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t space = line.find(' ');
    const std::string_view what = std::string_view(line).substr(0, space);
    std::size_t bursts = 0;
    const bool known = what == "time" || what == "probe";
    if (!known || space == std::string::npos || !parse(std::string_view(line).substr(space + 1), bursts)) {
      std::fprintf(stderr, "offloop-native-bench: expected \"time N\" or \"probe N\", got \"%s\"\n", line.c_str());
      return kExitUsage;
    }
    if (!round_of(work, bursts, what == "probe")) return kExitOutputFailed;
  }
  return kExitOk;
}

int unreadable(const char* path) {
  std::fprintf(stderr, "offloop-native-bench: %s: nothing to work on could be read\n", path);
  return kExitInputUnreadable;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  std::size_t max_concurrent = 0;
  if (what == "hash" && argc == 3) {
    HashWork work;
    return work.read(argv[2]) ? serve(work) : unreadable(argv[2]);
  }
  if (what == "fetch" && argc == 4 && parse(argv[3], max_concurrent)) {
    FetchWork work;
    return work.read(argv[2], max_concurrent) ? serve(work) : unreadable(argv[2]);
  }
  std::fputs("usage: offloop-native-bench hash FILE\n       offloop-native-bench fetch FILE MAX_CONCURRENT\n", stderr);
  return kExitUsage;
}
