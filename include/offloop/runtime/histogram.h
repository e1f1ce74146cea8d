// A latency histogram with one bucket for each power of two of nanoseconds: fixed size, one relaxed add to record.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

namespace offloop::runtime {

/// record() by one thread at a time, or by several where a lost count does not matter; read by any thread.
class Histogram {
 public:
  static constexpr unsigned kBuckets = 40;  // 2^39 ns = 9 minutes; longer ones land in the last bucket

  void record(std::int64_t ns, std::uint64_t times = 1) noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(static_cast<std::uint64_t>(ns > 0 ? ns : 0)));
    auto& bucket = buckets_[width < kBuckets ? width : kBuckets - 1];
    bucket.store(bucket.load(std::memory_order_relaxed) + times, std::memory_order_relaxed);
  }

  /// Bucket i counts latencies in [2^(i-1), 2^i) ns; bucket 0 those of 0 ns.
  [[nodiscard]] std::uint64_t count(unsigned bucket) const noexcept {
    return buckets_[bucket].load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> buckets_[kBuckets]{};
};

}  // namespace offloop::runtime
