// A group: works of one kind with the same constant parameters, which a worker may run side by side.
#pragma once

#include <cstdint>

#include "offloop/runtime/work.h"

namespace offloop::runtime {

class Pool;
class Worker;

inline constexpr unsigned kMaxBatchLanes = 16;

/// What one worker holds for one quantum: up to `batch_lanes` works of a group, and the way to trade finished ones for
/// waiting ones. Lives on the worker's stack; what run() leaves in `works` goes back to the queue.
class Quantum {
 public:
  Quantum(const Quantum&) = delete;
  Quantum& operator=(const Quantum&) = delete;

  /// The works at hand, in no order that means anything.
  Work* works[kMaxBatchLanes];
  unsigned count = 0;

  /// Ends works[i]: publishes its outcome; the slot is filled by the last work. The sink gets it at the next flush().
  /// [worker]
  void end(unsigned i, Outcome outcome) noexcept;
  /// Lets go of works[i] without ending it: its owner has it now (a stream that waits for its next piece), may have
  /// submitted it again already, or freed it: the work is not looked at, and its phase is the owner's business.
  /// [worker]
  void release(unsigned i) noexcept;
  /// Fills up to the group's lanes with works that wait. Returns how many came. [worker]
  unsigned refill() noexcept;
  /// True while one work is at hand, nothing else waits and nobody wants it to stop: to give it back at the end of the
  /// quantum would only mean to take it again. [worker]
  [[nodiscard]] bool goes_on() const noexcept;
  /// Hands what has ended to the sinks. Cheap when nothing has. [worker]
  void flush() noexcept;
  /// The index of the worker that runs this, 0 .. threads - 1.
  [[nodiscard]] unsigned worker_index() const noexcept;

 private:
  friend class Pool;
  friend class Worker;
  Quantum(Pool& pool, Worker& worker) noexcept : pool_(pool), worker_(worker) {}
  ~Quantum() = default;

  std::uint64_t account() noexcept;  // under Pool::Impl::mutex
  void mark_started(unsigned from) noexcept;

  Pool& pool_;
  Worker& worker_;
  Group* group_ = nullptr;
  unsigned accounted_ = 0;   ///< how many of the works at hand are in group_->held_
  unsigned limit_ = 0;       ///< lanes this worker may hold in this quantum
  bool timed_ = false;       ///< how long run() takes is to be known
  std::int64_t run_ns_ = 0;  ///< how long it took
  Work* ended_first_ = nullptr;
  Work* ended_last_ = nullptr;
};

/// One kind of work. Implemented by the layers above. The objects live as long as the process, or until Pool::forget():
/// a worker looks at the group once more after the sink has had its last work.
class Group {
 public:
  constexpr Group(const char* group_name, unsigned lanes, unsigned worker_limit = 0) noexcept
      : name(group_name), batch_lanes(lanes < kMaxBatchLanes ? lanes : kMaxBatchLanes), max_workers(worker_limit) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  /// Runs the works of `q` for one quantum: about 64 KiB each for streams of bytes. What it neither ends nor releases
  /// is put back. No exception may leave it. [worker]
  virtual void run(Quantum& q) noexcept = 0;

  /// How many lanes one worker should take when `waiting` works are there for `workers` workers. Default: an even
  /// share.
  [[nodiscard]] virtual unsigned lanes_to_take(unsigned waiting, unsigned workers) const noexcept {
    const unsigned share = (waiting + workers - 1) / workers;
    return share < batch_lanes ? share : batch_lanes;
  }

  const char* const name;
  const unsigned batch_lanes;  ///< how many works one worker can run side by side; 1 for plain tasks
  const unsigned max_workers;  ///< at most so many workers at once; 0 = all
  /// Whether run() always comes back within a quantum (about 1 ms). A plain task may not: then others are woken for the
  /// rest.
  bool prompt = true;

 protected:
  ~Group() = default;

 private:
  friend class Pool;
  friend class Quantum;
  // Guarded by Pool::Impl::mutex of owner_. In a forked child they are what the parent's pool left, perhaps half
  // written: the child's pool clears them when it meets the group for the first time.
  const Pool* owner_ = nullptr;
  Work* first_ = nullptr;
  Work* last_ = nullptr;
  unsigned waiting_ = 0;        ///< works in first_..last_
  unsigned held_ = 0;           ///< works in the hands of workers
  unsigned workers_ = 0;        ///< workers that run this group now
  Group* pool_next_ = nullptr;  ///< in the list of all groups that the pool has met
  Group* ready_next_ = nullptr;
  bool ready_ = false;  ///< in the pool's ring of groups with waiting works
};

}  // namespace offloop::runtime
