// Streams: messages that the pool hashes, a span at a time, SHA-256 ones side by side in SIMD lanes.
//
// This is the level that bindings and pipelines use; programs use hash.h. A stream is a runtime::Work: set it up, set
// `sink` and `user`, submit it, and the sink gets it back with `digest` filled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "offloop/hash/digest.h"
#include "offloop/runtime/pool.h"
#include "offloop/runtime/work.h"

namespace offloop::hash {

struct StreamWork : runtime::Work {
  enum class Next : std::uint8_t { kMore, kIdle, kStop };

  const std::uint8_t* data = nullptr;  ///< what is left of the span; moves on between quanta
  std::size_t size = 0;
  bool last = true;  ///< the span ends the message; other spans are multiples of 64 bytes
  /// Asked when a span that is not the last one is used up: kMore after setting the next span; kIdle when there is none
  /// yet (whoever brings it submits the stream again); kStop to end it. [worker]
  Next (*next_span)(StreamWork*) noexcept = nullptr;
  Digest digest;
};

struct Sha256Work final : StreamWork {
  std::uint64_t total = 0;            ///< bytes of the message up to the end of this span
  std::uint32_t state[8];             ///< set by the worker at the first span: who submits does not touch that line
  bool begun = false;                 ///< `state` is set
  std::uint8_t tail_blocks_done = 0;  ///< blocks of the padded end that are in `state` already

  /// A whole message, ready to submit. `max_workers`: see sha256_group.
  void set_message(ByteSpan message, runtime::Group& lanes) noexcept;
  /// The next span of the message.
  void set_span(ByteSpan span, bool is_last) noexcept;
  /// Back to the start of a message; the first span is still to be set.
  void reset(runtime::Group& lanes) noexcept;
};

/// The lanes: one group for the process, and one for each smaller limit of workers, shared by all who ask for that
/// limit.
runtime::Group& sha256_group(unsigned max_workers = 0) noexcept;

/// A stream for any algorithm. Null when memory is out.
struct FreeStream {
  void operator()(StreamWork* stream) const noexcept;
};
using StreamHandle = std::unique_ptr<StreamWork, FreeStream>;
StreamHandle make_stream(const Algorithm& algorithm) noexcept;
/// Sets the stream's span; for the first and every later one.
void set_stream_span(StreamWork& stream, ByteSpan span, bool is_last) noexcept;

/// Estimated cost of `bytes` in a full set of lanes, for Work::cost_ns.
std::uint32_t sha256_cost_ns(std::uint64_t bytes) noexcept;
/// The longest message that one core hashes within `budget_ns`, alone. For the decision to run at once.
std::size_t sha256_bytes_within(std::int64_t budget_ns) noexcept;

}  // namespace offloop::hash
