// The SHA-256 kernels side by side, and OpenSSL beside them. Bytes a second are of one core, all streams together.
//
//   kernel/<name>/<streams>/<bytes>   one kernel, so many streams of so many bytes; idle lanes cost like used ones
//   plan/<mode>/<streams>/<bytes>     what OFFLOOP_CPU=<mode> runs
//   cold/<name>/<bytes>               one kernel with all its lanes, on 128 MiB of messages in turn: none is in the
//                                     core's own caches; openssl_evp_cold/<bytes> likewise
//   alternate/<wide>/<narrow>         one call of each in turn; must cost what the two cost alone ("alone_ns" beside
//   "pair_ns") openssl_evp/<bytes>               EVP_Digest, one message after the other: what hashlib does
//
// Before the clock starts each benchmark hashes its messages once and compares every digest with OpenSSL's; while it
// runs the state of a call is the input of the next, so that no call can be left out.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "hash/dispatch.h"

namespace {

using namespace offloop::hash;
using Clock = std::chrono::steady_clock;

class Streams {
 public:
  Streams(unsigned n, std::size_t bytes) : n_(n), bytes_(bytes) {
    for (unsigned i = 0; i < n; ++i) {
      messages_.emplace_back(bytes);
      std::uint32_t x = i + 1;
      for (std::uint8_t& byte : messages_[i]) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        byte = static_cast<std::uint8_t>(x >> 24);
      }
    }
    reset();
  }

  void reset() {
    for (unsigned i = 0; i < n_; ++i) {
      std::memcpy(states_[i], kSha256Init, sizeof kSha256Init);
      state_of_[i] = states_[i];
      data_of_[i] = messages_[i].data();
    }
  }

  void compress() noexcept { sha256_blocks(n_, state_of_, data_of_, bytes_ / kSha256BlockBytes); }

  /// Ends the messages after one compress() and compares their digests with OpenSSL's.
  bool check() {
    reset();
    compress();
    std::uint8_t tail[2 * kSha256BlockBytes];
    const std::size_t tail_blocks = sha256_pad(nullptr, 0, bytes_, tail);
    const std::uint8_t* tails[kMaxLanes];
    for (const std::uint8_t*& t : tails) t = tail;
    sha256_blocks(n_, state_of_, tails, tail_blocks);
    for (unsigned i = 0; i < n_; ++i) {
      std::uint8_t digest[32], expected[32];
      sha256_store_digest(states_[i], digest);
      EVP_Digest(messages_[i].data(), bytes_, expected, nullptr, EVP_sha256(), nullptr);
      if (std::memcmp(digest, expected, sizeof digest) != 0) return false;
    }
    reset();
    return true;
  }

  std::uint32_t consume() const {
    std::uint32_t sum = 0;
    for (unsigned i = 0; i < n_; ++i) sum ^= states_[i][i % 8];
    return sum;
  }

  std::int64_t total_bytes() const { return static_cast<std::int64_t>(n_ * bytes_); }

 private:
  unsigned n_;
  std::size_t bytes_;
  std::vector<std::vector<std::uint8_t>> messages_;
  std::uint32_t states_[kMaxLanes][8];
  std::uint32_t* state_of_[kMaxLanes];
  const std::uint8_t* data_of_[kMaxLanes];
};

void run_plan(benchmark::State& state, const Plan& plan, unsigned n, std::size_t bytes) {
  const ScopedPlan scoped(plan);
  Streams streams(n, bytes);
  if (!streams.check()) return state.SkipWithError("wrong digest");
  for (auto _ : state) streams.compress();
  benchmark::DoNotOptimize(streams.consume());
  state.SetBytesProcessed(state.iterations() * streams.total_bytes());
}

void run_openssl(benchmark::State& state, std::size_t bytes) {
  const std::vector<std::uint8_t> message(bytes, 'x');
  std::uint8_t digest[32];
  for (auto _ : state) {
    EVP_Digest(message.data(), bytes, digest, nullptr, EVP_sha256(), nullptr);
    benchmark::DoNotOptimize(digest);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}

constexpr std::size_t kColdBytes = 128U << 20U;

/// Enough streams for kColdBytes; kept, because a benchmark is called several times until it has run for long enough.
std::deque<Streams>& cold_streams(unsigned lanes, std::size_t bytes) {
  static std::deque<Streams> made;
  static std::pair<unsigned, std::size_t> made_for;
  if (made_for != std::pair(lanes, bytes)) {
    made_for = {lanes, bytes};
    made.clear();
    for (std::size_t size = 0; size < kColdBytes; size += lanes * bytes) made.emplace_back(lanes, bytes);
  }
  return made;
}

void run_cold(benchmark::State& state, Kernel kernel, std::size_t bytes) {
  const ScopedPlan scoped(kernel);
  std::deque<Streams>& sets = cold_streams(kernel_info(kernel).lanes, bytes);
  if (!sets.front().check()) return state.SkipWithError("wrong digest");
  std::size_t next = 0;
  for (auto _ : state) {
    sets[next].compress();
    if (++next == sets.size()) next = 0;
  }
  for (const Streams& streams : sets) benchmark::DoNotOptimize(streams.consume());
  state.SetBytesProcessed(state.iterations() * sets[0].total_bytes());
}

void run_openssl_cold(benchmark::State& state, std::size_t bytes) {
  const std::vector<std::vector<std::uint8_t>> messages(kColdBytes / bytes, std::vector<std::uint8_t>(bytes, 'x'));
  std::size_t next = 0;
  std::uint8_t digest[32];
  for (auto _ : state) {
    EVP_Digest(messages[next].data(), bytes, digest, nullptr, EVP_sha256(), nullptr);
    benchmark::DoNotOptimize(digest);
    if (++next == messages.size()) next = 0;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}

Plan only(Kernel kernel) {
  return (ScopedPlan(kernel), current_plan());
}

/// A penalty for entering SHA-NI code with dirty upper halves would show as pair_ns far above alone_ns.
void run_alternating(benchmark::State& state, Kernel wide, Kernel narrow) {
  constexpr std::size_t kBytes = 1024;
  Streams many(kernel_info(wide).lanes, kBytes), few(kernel_info(narrow).lanes, kBytes);
  {
    const ScopedPlan scoped(wide);
    if (!many.check()) return state.SkipWithError("wrong digest");
  }
  {
    const ScopedPlan scoped(narrow);
    if (!few.check()) return state.SkipWithError("wrong digest");
  }
  const auto time_ns = [](auto&& body) {
    constexpr int kTimes = 2000;
    double best = 1e18;
    for (int attempt = 0; attempt < 5; ++attempt) {
      const auto start = Clock::now();
      for (int i = 0; i < kTimes; ++i) body();
      best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - start).count() / kTimes);
    }
    return best;
  };
  const ScopedPlan wide_plan(wide);
  const double wide_ns = time_ns([&] { many.compress(); });
  const ScopedPlan narrow_plan(narrow);
  const double narrow_ns = time_ns([&] { few.compress(); });
  // One plan for both: as many streams as the wide kernel has go to it, fewer to the narrow one.
  Plan both = only(narrow);
  both.take[kernel_info(wide).lanes] = wide;
  const ScopedPlan both_plan(both);
  const double pair_ns = time_ns([&] { many.compress(), few.compress(); });
  for (auto _ : state) many.compress(), few.compress();
  benchmark::DoNotOptimize(many.consume() ^ few.consume());
  state.SetBytesProcessed(state.iterations() * (many.total_bytes() + few.total_bytes()));
  state.counters["alone_ns"] = wide_ns + narrow_ns;
  state.counters["pair_ns"] = pair_ns;
}

std::string without_spaces(const char* name) {
  std::string text;
  for (; *name != '\0'; ++name) text += *name == ' ' ? '_' : *name;
  return text;
}

int register_all() {
  const CpuFeatures& cpu = cpu_choice().cpu;
  const auto size_name = [](std::size_t bytes) { return std::to_string(bytes / 1024) + "K"; };
  for (const std::size_t bytes : {std::size_t{1024}, std::size_t{65536}}) {
    benchmark::RegisterBenchmark(("openssl_evp/" + size_name(bytes)).c_str(), run_openssl, bytes);
    for (unsigned k = 0; k < kKernelCount; ++k) {
      const auto kernel = static_cast<Kernel>(k);
      if (!kernel_supported(kernel, cpu)) continue;
      for (unsigned n = 1; n <= kernel_info(kernel).lanes; ++n) {
        const std::string name =
            "kernel/" + without_spaces(kernel_info(kernel).name) + "/" + std::to_string(n) + "/" + size_name(bytes);
        benchmark::RegisterBenchmark(name.c_str(), run_plan, only(kernel), n, bytes);
      }
    }
    for (unsigned m = 0; m < kCpuModeCount; ++m) {
      const auto mode = static_cast<CpuMode>(m);
      if (!cpu_mode_supported(mode, cpu)) continue;
      for (unsigned n = 1; n <= kMaxLanes; ++n) {
        const std::string name =
            std::string("plan/") + cpu_mode_name(mode) + "/" + std::to_string(n) + "/" + size_name(bytes);
        benchmark::RegisterBenchmark(name.c_str(), run_plan, make_plan(mode, cpu, rates_of(cpu)), n, bytes);
      }
    }
  }
  for (const std::size_t bytes : {std::size_t{1024}, std::size_t{10240}, std::size_t{1048576}}) {
    benchmark::RegisterBenchmark(("openssl_evp_cold/" + size_name(bytes)).c_str(), run_openssl_cold, bytes);
    for (unsigned k = 0; k < kKernelCount; ++k) {
      const auto kernel = static_cast<Kernel>(k);
      if (!kernel_supported(kernel, cpu)) continue;
      const std::string name = "cold/" + without_spaces(kernel_info(kernel).name) + "/" + size_name(bytes);
      benchmark::RegisterBenchmark(name.c_str(), run_cold, kernel, bytes);
    }
  }
  for (const Kernel wide : {Kernel::kAvx2x8, Kernel::kAvx512x8, Kernel::kAvx512x16}) {
    for (const Kernel narrow : {Kernel::kShani1, Kernel::kShani2}) {
      if (!kernel_supported(wide, cpu) || !kernel_supported(narrow, cpu)) continue;
      const std::string name =
          "alternate/" + without_spaces(kernel_info(wide).name) + "/" + without_spaces(kernel_info(narrow).name);
      benchmark::RegisterBenchmark(name.c_str(), run_alternating, wide, narrow);
    }
  }
  return 0;
}

// Registered before main(), which benchmark_main brings.
[[maybe_unused]] const int registered = register_all();

}  // namespace
