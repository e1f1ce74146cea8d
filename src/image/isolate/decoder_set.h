// The decoder processes that are kept for the next picture: as many as calls run at once, no more than the pool has
// workers when nobody calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "image/isolate/decoder_process.h"
#include "offloop/image/process.h"

namespace offloop::image::isolate {

class DecoderSet {
 public:
  explicit DecoderSet(Options options);
  DecoderSet(const DecoderSet&) = delete;
  DecoderSet& operator=(const DecoderSet&) = delete;
  /// Nobody calls any more. Ends all of them.
  ~DecoderSet() = default;

  /// The set of this process, never destroyed. A forked child gets one of its own and has nothing to do with its
  /// parent's decoders. Null without memory. [any thread]
  static DecoderSet* shared() noexcept;

  /// isolated_process() with these decoders. May throw std::bad_alloc. [any thread]
  Result<Processed> process(ByteSpan data, const Recipe& recipe, const Stop& stop);

  /// Ends those that have nothing to do and keeps none from now on. [any thread]
  void close() noexcept;

  /// True in the process that made it.
  [[nodiscard]] bool own() const noexcept;

  /// How many were started up to now.
  [[nodiscard]] std::uint64_t started() const noexcept { return started_.load(std::memory_order_relaxed); }

 private:
  using Handle = std::unique_ptr<DecoderProcess>;

  Result<Handle> take(const Stop& stop);
  Handle take_idle();
  void give_back(Handle decoder);
  /// Kills it. One with much memory takes the kernel a while: what has not ended soon is waited for by a later call.
  void discard(Handle decoder);
  void bury_the_dead();
  void abandon() noexcept;

  const Options options_;
  const std::uint32_t generation_;
  std::atomic<std::uint64_t> started_{0};
  std::mutex mutex_;
  std::vector<Handle> idle_;   ///< the one used last is at the end: its memory is warm
  std::vector<Handle> dying_;  ///< killed, not waited for yet
  bool closed_ = false;
};

}  // namespace offloop::image::isolate
