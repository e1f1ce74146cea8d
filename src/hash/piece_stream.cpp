#include "offloop/hash/piece_stream.h"

#include <new>

namespace offloop::hash {

using runtime::Outcome;
using runtime::Phase;

PieceStream* PieceStream::create(const Algorithm& algorithm, Listener& listener) noexcept {
  StreamHandle stream = make_stream(algorithm);
  if (stream == nullptr) return nullptr;
  return new (std::nothrow) PieceStream(std::move(stream), listener);
}

PieceStream::PieceStream(StreamHandle stream, Listener& listener) noexcept
    : stream_(std::move(stream)), listener_(listener) {
  stream_->sink = this;
  stream_->user = this;
  stream_->next_span = next_span;
}

PieceStream::~PieceStream() {
  while (first_ != nullptr) {
    Chunk* chunk = first_;
    first_ = chunk->next;
    free_chunk(chunk);
  }
}

void PieceStream::append(Chunk* chunk) noexcept {
  chunk->next = nullptr;
  if (last_ == nullptr) {
    first_ = chunk;
  } else {
    last_->next = chunk;
  }
  last_ = chunk;
  chunk_count_.fetch_add(1, std::memory_order_relaxed);
}

/// The first chunk as the stream's span, or an empty one that ends the message.
void PieceStream::set_first_span() noexcept {
  if (first_ == nullptr) return set_stream_span(*stream_, {}, true);
  set_stream_span(*stream_, {first_->data(), first_->size}, finishing_ && first_->next == nullptr);
}

bool PieceStream::submit(std::unique_lock<std::mutex>& lock) noexcept {
  active_ = true;
  refs_.fetch_add(1, std::memory_order_relaxed);
  // Not under the lock: a worker may end the stream, and its owner free it, before Pool::submit() has returned.
  lock.unlock();
  runtime::Pool* pool = runtime::Pool::instance();
  if (pool != nullptr && pool->submit(stream_.get())) return true;
  stream_->outcome = pool != nullptr ? Outcome::kStopped : Outcome::kOutOfMemory;  // closed, or it cannot start
  run_ended();
  return false;
}

bool PieceStream::feed(Chunk* chunk) noexcept {
  std::unique_lock lock(mutex_);
  if (ended_) {
    free_chunk(chunk);
    return false;
  }
  append(chunk);
  if (active_) return true;
  set_first_span();
  return submit(lock);
}

void PieceStream::feed_last(Chunk* chunk) noexcept {
  std::unique_lock lock(mutex_);
  if (finishing_) return free_chunk(chunk);  // aborted meanwhile
  append(chunk);
  finishing_ = true;
  if (ended_) return tell_end(lock);
  if (active_) return;
  set_first_span();
  submit(lock);
}

void PieceStream::finish() noexcept {
  std::unique_lock lock(mutex_);
  if (finishing_) return;
  finishing_ = true;
  if (ended_) return tell_end(lock);
  if (active_) return;
  set_first_span();
  submit(lock);
}

void PieceStream::abort() noexcept {
  std::unique_lock lock(mutex_);
  if (finishing_) return;
  finishing_ = true;
  if (ended_) return tell_end(lock);
  stream_->request_stop();
  // Active: the worker sees it at the end of its quantum. Idle: nobody would look, so it goes round once more.
  if (!active_) submit(lock);
}

StreamWork::Next PieceStream::next_span(StreamWork* work) noexcept {
  return static_cast<PieceStream*>(work->user)->advance();
}

StreamWork::Next PieceStream::advance() noexcept {
  StreamWork::Next next = StreamWork::Next::kMore;
  {
    const std::lock_guard lock(mutex_);
    if (Chunk* used = first_; used != nullptr) {
      first_ = used->next;
      if (first_ == nullptr) last_ = nullptr;
      chunk_count_.fetch_sub(1, std::memory_order_relaxed);
      const std::size_t bytes = used->size;
      free_chunk(used);
      listener_.on_consumed(bytes);
    }
    if (stream_->stop_requested()) return StreamWork::Next::kStop;  // its end comes through accept()
    if (first_ != nullptr || finishing_) {
      set_first_span();
    } else {
      active_ = false;
      next = StreamWork::Next::kIdle;
    }
  }
  if (next == StreamWork::Next::kIdle) drop();
  return next;
}

void PieceStream::accept(runtime::PortItem*, runtime::PortItem*) noexcept {
  run_ended();
}

/// The pool has let go of the stream for good. Its owner is told when the feeder has come to its end too: until then
/// the feeder may be inside feed(), or about to call it.
void PieceStream::run_ended() noexcept {
  {
    // Also what orders the feeder's last writes (why it aborted) before on_end(): a stop is seen without the lock.
    std::unique_lock lock(mutex_);
    ended_ = true;
    if (finishing_) {
      lock.unlock();
      listener_.on_end(stream_->outcome, stream_->digest);
    } else {
      std::size_t bytes = 0;
      while (Chunk* chunk = first_) {
        first_ = chunk->next;
        bytes += chunk->size;
        free_chunk(chunk);
      }
      last_ = nullptr;
      chunk_count_.store(0, std::memory_order_relaxed);
      listener_.on_consumed(bytes);  // a feeder that waits for room goes on, and finds out
    }
  }
  drop();
}

/// The stream had ended early and its feeder has come to its end now: on_end(), on the feeder's thread.
void PieceStream::tell_end(std::unique_lock<std::mutex>& lock) noexcept {
  refs_.fetch_add(1, std::memory_order_relaxed);  // on_end() may give up the owner's
  lock.unlock();
  listener_.on_end(stream_->outcome, stream_->digest);
  drop();
}

void PieceStream::drop() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace offloop::hash
