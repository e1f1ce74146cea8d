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
  runtime::Pool* pool = runtime::Pool::instance();
  if (pool != nullptr && pool->submit(stream_.get())) return true;
  // The pool is closed or cannot start: the message ends here.
  lock.unlock();
  stream_->outcome = Outcome::kStopped;
  listener_.on_end(Outcome::kStopped, stream_->digest);
  drop();
  return false;
}

bool PieceStream::feed(Chunk* chunk) noexcept {
  std::unique_lock lock(mutex_);
  append(chunk);
  if (active_) return true;
  set_first_span();
  return submit(lock);
}

bool PieceStream::feed_last(Chunk* chunk) noexcept {
  std::unique_lock lock(mutex_);
  append(chunk);
  finishing_ = true;
  if (active_) return true;
  set_first_span();
  return submit(lock);
}

bool PieceStream::finish() noexcept {
  std::unique_lock lock(mutex_);
  if (finishing_) return true;
  finishing_ = true;
  if (active_) return true;
  set_first_span();
  return submit(lock);
}

void PieceStream::abort() noexcept {
  std::unique_lock lock(mutex_);
  if (finishing_) return;
  finishing_ = true;
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
  // The end: no span follows, and a feeder that still feeds finds the stream active for good.
  listener_.on_end(stream_->outcome, stream_->digest);
  drop();
}

void PieceStream::drop() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace offloop::hash
