// SHA-256 in lanes: what a worker does with the streams of one quantum.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "hash/dispatch.h"
#include "hash/lane_spread.h"
#include "offloop/hash/stream.h"
#include "offloop/runtime/group.h"

namespace offloop::hash {
namespace {

using runtime::Outcome;
using runtime::Quantum;

constexpr std::size_t kBlockBytes = kSha256BlockBytes;
/// 64 KiB a stream: 16 to 33 us in one lane set, so that a new stream waits no longer than that for a lane.
constexpr std::size_t kQuantumBlocks = 1024;
/// Up to eight streams that are read in step find room in one set of the cache, the next blocks' lines included.
constexpr unsigned kSpreadFromLanes = 9;
/// 128 KiB: at 100 KB nothing was won, the blocks that are hashed alone cost as much (docs/design/hash-lanes.md).
constexpr std::size_t kSpreadFromBlocks = 2048;

/// A stream while it is in a lane: the blocks it has next, from its span or from its padded end.
struct Lane {
  Sha256Work* work;
  const std::uint8_t* data;
  std::size_t blocks;
  bool tail;
  alignas(kBlockBytes) std::uint8_t padded[2 * kBlockBytes];

  void load(Sha256Work& stream) noexcept {
    work = &stream;
    if (!stream.begun) {
      stream.begun = true;
      std::memcpy(stream.state, kSha256Init, sizeof stream.state);
    }
    next_blocks();
  }

  /// The whole blocks of the span or, when there are none left of the last span, the padded end (FIPS 180-4, 5.1.1).
  void next_blocks() noexcept {
    data = work->data;
    blocks = work->size / kBlockBytes;
    tail = blocks == 0 && work->last;
    if (tail) pad();
  }

  void pad() noexcept {
    blocks = sha256_pad(work->data, work->size, work->total, padded) - work->tail_blocks_done;
    data = padded + work->tail_blocks_done * kBlockBytes;
  }

  void advance(std::size_t done) noexcept {
    data += done * kBlockBytes;
    blocks -= done;
    if (tail) {
      work->tail_blocks_done = static_cast<std::uint8_t>(work->tail_blocks_done + done);
    } else {
      work->data = data;
      work->size -= done * kBlockBytes;
    }
  }
};

class Sha256Group final : public runtime::Group {
 public:
  explicit constexpr Sha256Group(unsigned worker_limit) noexcept : Group("sha256", kMaxLanes, worker_limit) {}
  ~Sha256Group() = default;

  void run(Quantum& q) noexcept override;
  [[nodiscard]] unsigned lanes_to_take(unsigned waiting, unsigned workers) const noexcept override;
};

/// The lanes of one worker, in step with q.works: lane[i] is the lane of q.works[i].
class LaneSet {
 public:
  explicit LaneSet(Quantum& q) noexcept : q_(q) {
    for (unsigned i = 0; i < kMaxLanes; ++i) lane_[i] = &storage_[i];
    load_new();
  }

  void run() noexcept {
    std::size_t left = kQuantumBlocks;
    while (q_.count != 0 && left != 0) {
      left -= step(left);
      if (retire()) {
        q_.flush();
        q_.refill();
        load_new();
      }
      if (left == 0) {
        runtime::Pool::report_bytes(std::exchange(bytes_, 0));
        if (q_.goes_on()) left = kQuantumBlocks;
      }
    }
    for (unsigned i = 0; i < q_.count; ++i) lane_[i]->work->cost_ns = sha256_cost_ns(lane_[i]->work->size);
    runtime::Pool::report_bytes(bytes_);
  }

 private:
  void load_new() noexcept {
    for (; loaded_ < q_.count; ++loaded_) lane_[loaded_]->load(static_cast<Sha256Work&>(*q_.works[loaded_]));
    if (kernel_info(current_plan().take[loaded_]).lanes >= kSpreadFromLanes) spread();
  }

  /// For kernels that read so many in step: no two large streams are read in one set of the cache: those that would be
  /// are hashed a few blocks ahead, alone. They stay apart, since all lanes go forward alike.
  void spread() noexcept {
    Lane* large[kMaxLanes];
    const std::uint8_t* data[kMaxLanes];
    unsigned count = 0;
    for (unsigned i = 0; i < loaded_; ++i) {
      if (lane_[i]->blocks < kSpreadFromBlocks) continue;
      large[count] = lane_[i];
      data[count++] = lane_[i]->data;
    }
    if (count < kSpreadFromLanes) return;
    std::uint8_t ahead[kMaxLanes];
    spread_over_sets(count, data, ahead);
    for (unsigned i = 0; i < count; ++i) {
      if (ahead[i] == 0) continue;
      std::uint32_t* const state = large[i]->work->state;
      sha256_blocks(1, &state, &data[i], ahead[i]);
      large[i]->advance(ahead[i]);
      bytes_ += ahead[i] * kBlockBytes;
    }
  }

  /// All lanes forward by as many blocks as the shortest has.
  std::size_t step(std::size_t limit) noexcept {
    std::uint32_t* states[kMaxLanes];
    const std::uint8_t* data[kMaxLanes];
    std::size_t blocks = limit;
    for (unsigned i = 0; i < q_.count; ++i) {
      states[i] = lane_[i]->work->state;
      data[i] = lane_[i]->data;
      blocks = std::min(blocks, lane_[i]->blocks);
    }
    if (blocks != 0) {
      sha256_blocks(q_.count, states, data, blocks);
      for (unsigned i = 0; i < q_.count; ++i) lane_[i]->advance(blocks);
      bytes_ += blocks * kBlockBytes * q_.count;
    }
    return blocks;
  }

  /// Ends, moves on or lets go of every stream that has used up its blocks. True when a lane came free.
  bool retire() noexcept {
    bool freed = false;
    for (unsigned i = q_.count; i-- > 0;) {
      Lane& lane = *lane_[i];
      if (lane.blocks != 0) continue;
      Sha256Work& work = *lane.work;
      if (lane.tail) {
        sha256_store_digest(work.state, work.digest.bytes);
        work.digest.size = 32;
        remove(i);
        q_.end(i, Outcome::kValue);
        freed = true;
        continue;
      }
      if (!work.last) {
        const StreamWork::Next next = work.next_span(&work);
        // After kIdle the stream belongs to its feeder, and may be on another worker by now.
        if (next != StreamWork::Next::kMore) {
          remove(i);
          if (next == StreamWork::Next::kIdle) {
            q_.release(i);
          } else {
            q_.end(i, Outcome::kStopped);
          }
          freed = true;
          continue;
        }
      }
      lane.next_blocks();
    }
    return freed;
  }

  /// As Quantum::end and release do: the last one takes the place.
  void remove(unsigned i) noexcept { std::swap(lane_[i], lane_[--loaded_]); }

  Quantum& q_;
  unsigned loaded_ = 0;
  std::uint64_t bytes_ = 0;
  Lane* lane_[kMaxLanes];
  Lane storage_[kMaxLanes];
};

void Sha256Group::run(Quantum& q) noexcept {
  if (!sha256_trusted()) {
    while (q.count != 0) q.end(0, Outcome::kError);
    return;
  }
  LaneSet lanes(q);
  lanes.run();
}

/// As many as give the most bytes a second over all workers that are awake: an even share, or full AVX-512 lanes on
/// some and the rest on another (20 streams on two cores: 16 + 4 beats 10 + 10). Rates: the measured table of this CPU.
unsigned Sha256Group::lanes_to_take(unsigned waiting, unsigned workers) const noexcept {
  if (max_workers != 0) workers = std::min(workers, max_workers);
  if (waiting == 0 || workers == 0) return 1;
  const unsigned share = (waiting + workers - 1) / workers;
  if (share >= kMaxLanes) return kMaxLanes;
  unsigned best = share;
  double best_rate = 0;
  for (unsigned lanes = share; lanes <= std::min(waiting, kMaxLanes); ++lanes) {
    const unsigned full = std::min(workers, waiting / lanes);
    const unsigned rest = full < workers ? std::min(lanes, waiting - full * lanes) : 0;
    const double rate = full * sha256_rate(lanes) + (rest != 0 ? sha256_rate(rest) : 0);
    if (rate > best_rate * 1.02) {
      best_rate = rate;
      best = lanes;
    }
  }
  return best;
}

constexpr unsigned kMaxLimits = 1024;
// The group for all workers exists without memory of its own: there is always one to fall back to. No function's
// static: a fork can leave the lock of its first use locked.
constinit Sha256Group g_unlimited(0);
std::atomic<Sha256Group*> g_groups[kMaxLimits + 1];  // by limit of workers; made on demand, never freed

}  // namespace

runtime::Group& sha256_group(unsigned max_workers) noexcept {
  if (max_workers > kMaxLimits) max_workers = 0;
  std::atomic<Sha256Group*>& slot = g_groups[max_workers];
  Sha256Group* group = slot.load(std::memory_order_acquire);
  if (group != nullptr) return *group;
  Sha256Group* made = max_workers == 0 ? &g_unlimited : new (std::nothrow) Sha256Group(max_workers);
  if (made == nullptr) return g_unlimited;
  if (slot.compare_exchange_strong(group, made, std::memory_order_acq_rel)) return *made;
  if (made != &g_unlimited) ::operator delete(made);
  return *group;
}

void Sha256Work::reset(runtime::Group& lanes) noexcept {
  group = &lanes;
  begun = false;
  total = 0;
  tail_blocks_done = 0;
}

void Sha256Work::set_span(ByteSpan span, bool is_last) noexcept {
  data = span.data();
  size = span.size();
  last = is_last;
  total += span.size();
  cost_ns = sha256_cost_ns(span.size());
}

void Sha256Work::set_message(ByteSpan message, runtime::Group& lanes) noexcept {
  reset(lanes);
  set_span(message, true);
}

std::uint32_t sha256_cost_ns(std::uint64_t bytes) noexcept {
  const double cost = static_cast<double>(bytes + 2 * kBlockBytes) / sha256_rate(kMaxLanes);
  constexpr double kMost = std::numeric_limits<std::uint32_t>::max();
  return cost < kMost ? static_cast<std::uint32_t>(cost) : std::numeric_limits<std::uint32_t>::max();
}

std::size_t sha256_bytes_within(std::int64_t budget_ns) noexcept {
  return static_cast<std::size_t>(static_cast<double>(budget_ns) * sha256_rate(1));
}

}  // namespace offloop::hash
