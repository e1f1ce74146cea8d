#include "image/isolate/decoder_set.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

#include "image/isolate/verify.h"
#include "offloop/runtime/fork.h"
#include "offloop/runtime/pool.h"

namespace offloop::image::isolate {
namespace {

/// For the end of a killed decoder, while a caller waits.
constexpr std::int64_t kSoonNs = 20'000'000;
/// A picture whose decoder went before it was read gets another one, so often.
constexpr int kTries = 4;

// Plain words: nothing here has a destructor that could run while somebody still uses it.
std::atomic<DecoderSet*> g_shared{nullptr};
std::atomic<std::uint32_t> g_shared_lock{0};
std::atomic<bool> g_at_exit{false};

DecoderSet* shared_if_made() noexcept {
  DecoderSet* set = g_shared.load(std::memory_order_acquire);
  return set != nullptr && set->own() ? set : nullptr;
}

/// Decoders would end by themselves, when the thread that started them has gone; but somebody else would then have to
/// wait for them. Those that work are ended by their callers, whom the pool's shutdown stops.
void end_shared() {
  if (DecoderSet* set = shared_if_made()) set->close();
}

}  // namespace

DecoderSet::DecoderSet(Options options) : options_(std::move(options)), generation_(runtime::fork_generation()) {}

bool DecoderSet::own() const noexcept {
  return generation_ == runtime::fork_generation();
}

DecoderSet* DecoderSet::shared() noexcept {
  if (DecoderSet* set = shared_if_made()) return set;
  const runtime::ForkLock lock(g_shared_lock);
  if (DecoderSet* set = shared_if_made()) return set;
  try {
    auto fresh = std::make_unique<DecoderSet>(Options{});
    if (DecoderSet* parents = g_shared.load(std::memory_order_relaxed)) parents->abandon();
    if (!g_at_exit.exchange(true)) std::atexit(end_shared);
    g_shared.store(fresh.get(), std::memory_order_release);
    return fresh.release();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

Result<Processed> DecoderSet::process(ByteSpan data, const Recipe& recipe, const Stop& stop) {
  const Format format = detect_format(data);
  for (int i = 0; i < kTries; ++i) {
    Result<Handle> taken = take(stop);
    if (!taken.ok() && taken.error().code == ErrorCode::kDecoderCrash) continue;
    if (!taken.ok()) return std::move(taken).error();
    Handle decoder = std::move(taken).value();
    Attempt attempt = decoder->run(data, format, recipe, stop);
    if (attempt.usable && decoder->pictures() < options_.pictures) {
      give_back(std::move(decoder));
    } else {
      discard(std::move(decoder));
    }
    if (attempt.result) return std::move(*attempt.result);
  }
  return Error(ErrorCode::kDecoderCrash,
               "isolated decoders end before they have begun with the picture; something kills them");
}

Result<DecoderSet::Handle> DecoderSet::take(const Stop& stop) {
  bury_the_dead();
  while (Handle decoder = take_idle()) {
    if (decoder->quiet()) return decoder;
    discard(std::move(decoder));  // it died of something else than a picture of ours
  }
  started_.fetch_add(1, std::memory_order_relaxed);
  return DecoderProcess::start(options_, stop);
}

DecoderSet::Handle DecoderSet::take_idle() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return nullptr;
  Handle decoder = std::move(idle_.back());
  idle_.pop_back();
  return decoder;
}

void DecoderSet::give_back(Handle decoder) {
  const std::size_t most =
      options_.idle != 0 ? options_.idle : std::max<std::size_t>(1, runtime::Pool::options().threads);
  {
    const std::lock_guard lock(mutex_);
    if (!closed_ && idle_.size() < most) {
      idle_.push_back(std::move(decoder));
      return;
    }
  }
  discard(std::move(decoder));
}

void DecoderSet::discard(Handle decoder) {
  decoder->child().kill();
  if (decoder->child().wait(kSoonNs)) return;
  const std::lock_guard lock(mutex_);
  dying_.push_back(std::move(decoder));
}

void DecoderSet::bury_the_dead() {
  std::vector<Handle> dead;  // freed without the lock
  const std::lock_guard lock(mutex_);
  if (dying_.empty()) return;
  for (Handle& decoder : dying_) {
    if (decoder->child().wait(0)) dead.push_back(std::move(decoder));
  }
  std::erase(dying_, nullptr);
}

void DecoderSet::close() noexcept {
  std::vector<Handle> all;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    all.swap(idle_);
    for (Handle& decoder : all) decoder->child().kill();  // all at once, then waited for
  }
  all.clear();
  const std::lock_guard lock(mutex_);
  dying_.clear();
}

void DecoderSet::abandon() noexcept {
  // Locked: a thread of the parent was just changing the list. Nothing can be said about it then, and it stays.
  if (!mutex_.try_lock()) return;
  for (Handle& decoder : idle_) decoder->abandon();
  mutex_.unlock();
}

}  // namespace offloop::image::isolate
