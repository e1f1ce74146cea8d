// A message that arrives in pieces, hashed while it arrives: one feeder, the pool's workers, in order.
#pragma once

#include <atomic>
#include <mutex>

#include "offloop/hash/chunk.h"
#include "offloop/hash/stream.h"

namespace offloop::hash {

class PieceStream final : public runtime::Sink {
 public:
  /// Called on workers, under the stream's lock or at its end: short, and never back into the stream.
  class Listener {
   public:
    /// Chunks of `bytes` have been hashed, or given up, and freed: there is room again. Not called for what is left at
    /// the end. [worker, or the thread of feed() when the pool was shut down]
    virtual void on_consumed(std::size_t bytes) noexcept = 0;
    /// The end, exactly once, only after feed_last(), finish() or abort(): the stream may be dropped from here.
    /// [worker, or the thread of those three when the stream had ended early]
    virtual void on_end(runtime::Outcome outcome, const Digest& digest) noexcept = 0;

   protected:
    ~Listener() = default;
  };

  /// Null when memory is out. The caller has one reference; drop() gives it up, after on_end() or before the first
  /// chunk.
  static PieceStream* create(const Algorithm& algorithm, Listener& listener) noexcept;

  // One feeder at a time, any thread.
  /// Takes the chunk over. Its size is a multiple of 64: only the last piece (feed_last) may be odd. False: the stream
  /// has ended early (the pool was shut down, the hash function failed); abort() is what remains, and brings on_end().
  bool feed(Chunk* chunk) noexcept;
  /// Takes over the last chunk; a message of one piece runs as one span. The stream may be gone when it returns.
  void feed_last(Chunk* chunk) noexcept;
  /// No chunk will follow. The stream may be gone when it returns.
  void finish() noexcept;
  /// Ends as kStopped, soon. Once finish() or abort() was called, nothing happens. [any thread]
  void abort() noexcept;
  /// Chunks that wait or are in a lane. [any thread]
  [[nodiscard]] unsigned chunks() const noexcept { return chunk_count_.load(std::memory_order_relaxed); }

  void drop() noexcept;

  void accept(runtime::PortItem* first, runtime::PortItem* last) noexcept override;  // [worker]

 private:
  PieceStream(StreamHandle stream, Listener& listener) noexcept;
  ~PieceStream();
  static StreamWork::Next next_span(StreamWork* work) noexcept;
  StreamWork::Next advance() noexcept;
  void append(Chunk* chunk) noexcept;  // under mutex_
  void set_first_span() noexcept;      // under mutex_
  bool submit(std::unique_lock<std::mutex>& lock) noexcept;
  void run_ended() noexcept;
  void tell_end(std::unique_lock<std::mutex>& lock) noexcept;

  const StreamHandle stream_;
  Listener& listener_;
  std::mutex mutex_;
  Chunk* first_ = nullptr;  ///< the one in the lane, if active_
  Chunk* last_ = nullptr;
  std::atomic<unsigned> chunk_count_{0};
  bool active_ = false;       ///< with the pool
  bool finishing_ = false;    ///< feed_last(), finish() or abort() was called
  bool ended_ = false;        ///< the pool will not run it any more; before finishing_: it ended early
  std::atomic<int> refs_{1};  ///< the owner's, and one while active
};

}  // namespace offloop::hash
