#include "fetch/admission.h"

#include <algorithm>
#include <functional>
#include <new>
#include <utility>

namespace offloop::fetch {

Admission::Admission(unsigned max_concurrent, unsigned per_host, unsigned io_threads)
    : max_concurrent_(max_concurrent), per_host_(per_host), load_(io_threads, 0) {}

Result<TransferId> Admission::submit(std::unique_ptr<Transfer> transfer, Burst& ready) noexcept {
  const std::lock_guard lock(mutex_);
  Result<TransferId> id = submit_locked(std::move(transfer));
  pump_locked(ready);
  return id;
}

void Admission::submit_all(std::vector<std::unique_ptr<Transfer>> transfers, std::vector<Result<TransferId>>& results,
                           Burst& ready) noexcept {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    if (transfers[i]) results[i] = submit_locked(std::move(transfers[i]));
  }
  pump_locked(ready);
}

Result<TransferId> Admission::submit_locked(std::unique_ptr<Transfer> transfer) noexcept {
  if (closed_) return Error(ErrorCode::kPoolClosed, "the fetcher is closed");
  try {
    return enqueue_locked(std::move(transfer));
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory");
  }
}

TransferId Admission::enqueue_locked(std::unique_ptr<Transfer> transfer) {
  if (free_slots_.empty()) {
    if (free_slots_.capacity() <= slots_.size()) free_slots_.reserve(2 * slots_.size() + 64);  // release() needs none
    slots_.emplace_back();
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
  }
  const std::uint32_t index = free_slots_.back();
  HostQueue* host = host_locked(transfer->first_url.host);  // the last that may throw
  free_slots_.pop_back();

  Transfer* t = transfer.get();
  t->id = std::uint64_t{slots_[index].generation} << 32 | index;
  t->queued_at = Clock::now();
  t->consumer->on_accepted(t->id);
  t->host = host;
  t->previous = host->tail;
  (host->tail != nullptr ? host->tail->next : host->head) = t;
  host->tail = t;
  slots_[index].transfer = std::move(transfer);
  ++queued_;
  push_turn_locked(host);
  return t->id;
}

int Admission::cancel(TransferId id) noexcept {
  const std::lock_guard lock(mutex_);
  Transfer* transfer = find_locked(id);
  if (transfer == nullptr || transfer->cancelled) return -1;
  transfer->cancelled = true;
  if (transfer->place == Transfer::Place::kQueued) {
    if (!transfer->on_io_thread) transfer->io = choose_io_locked(*transfer->host);
    transfer->on_io_thread = true;
    unlink_locked(transfer);
    transfer->place = Transfer::Place::kUnlinked;
    forget_host_locked(std::exchange(transfer->host, nullptr));
  }
  return static_cast<int>(transfer->io);
}

int Admission::io_of(TransferId id) const {
  const std::lock_guard lock(mutex_);
  const Transfer* transfer = find_locked(id);
  return transfer != nullptr && transfer->on_io_thread ? static_cast<int>(transfer->io) : -1;
}

Transfer* Admission::find(TransferId id) const {
  const std::lock_guard lock(mutex_);
  return find_locked(id);
}

bool Admission::move_to_host(Transfer* transfer, const std::string& host, Burst& ready) {
  const std::lock_guard lock(mutex_);
  HostQueue* from = transfer->host;
  if (from->name == host) return true;
  HostQueue* to = host_locked(host);
  --from->running;
  transfer->host = to;
  const bool at_once = may_run(*to);
  if (at_once) {
    ++to->running;
  } else {
    --running_;
    --load_[transfer->io];
    ++queued_;
    transfer->place = Transfer::Place::kQueued;
    transfer->queued_at = Clock::now();
    transfer->previous = nullptr;
    transfer->next = to->head;
    (to->head != nullptr ? to->head->previous : to->tail) = transfer;
    to->head = transfer;
    push_turn_locked(to);
  }
  push_turn_locked(from);
  forget_host_locked(from);
  pump_locked(ready);
  return at_once;
}

std::unique_ptr<Transfer> Admission::release(Transfer* transfer, Burst& ready) noexcept {
  const std::lock_guard lock(mutex_);
  HostQueue* host = transfer->host;
  if (transfer->place == Transfer::Place::kRunning) {
    --host->running;
    --running_;
    --load_[transfer->io];
    push_turn_locked(host);
  } else if (transfer->place == Transfer::Place::kQueued) {
    unlink_locked(transfer);
  }
  transfer->host = nullptr;
  if (host != nullptr) forget_host_locked(host);

  const auto index = static_cast<std::uint32_t>(transfer->id);
  Slot& slot = slots_[index];
  ++slot.generation;
  if (slot.generation == 0) slot.generation = 1;  // an id is never 0
  std::unique_ptr<Transfer> owned = std::move(slot.transfer);
  free_slots_.push_back(index);
  pump_locked(ready);
  return owned;
}

void Admission::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (Slot& slot : slots_) {
    if (slot.transfer && !slot.transfer->on_io_thread) {
      slot.transfer->io = 0;
      slot.transfer->on_io_thread = true;
    }
  }
}

void Admission::pump(Burst& ready) noexcept {
  const std::lock_guard lock(mutex_);
  ready.clear();
  pump_locked(ready);
}

Transfer* Admission::next_of(unsigned io, std::size_t& place) const {
  const std::lock_guard lock(mutex_);
  for (; place < slots_.size(); ++place) {
    if (Transfer* transfer = slots_[place].transfer.get(); transfer != nullptr && transfer->io == io) return transfer;
  }
  return nullptr;
}

std::uint64_t Admission::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_;
}

std::uint64_t Admission::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

bool Admission::empty() const {
  const std::lock_guard lock(mutex_);
  return free_slots_.size() == slots_.size();
}

Transfer* Admission::find_locked(TransferId id) const {
  const auto index = static_cast<std::uint32_t>(id);
  if (index >= slots_.size() || slots_[index].generation != id >> 32) return nullptr;
  return slots_[index].transfer.get();
}

HostQueue* Admission::host_locked(const std::string& name) {
  if (const auto found = hosts_.find(name); found != hosts_.end()) return found->second.get();
  auto host = std::make_unique<HostQueue>();
  host->name = name;
  return hosts_.emplace(name, std::move(host)).first->second.get();
}

/// A million hosts pass by in one job: only those with something to do are kept.
void Admission::forget_host_locked(HostQueue* host) {
  if (host->running == 0 && host->head == nullptr && !host->in_turn) hosts_.erase(host->name);
}

void Admission::push_turn_locked(HostQueue* host) {
  if (host->in_turn || host->head == nullptr || !may_run(*host)) return;
  host->in_turn = true;
  host->next_turn = nullptr;
  (last_turn_ != nullptr ? last_turn_->next_turn : first_turn_) = host;
  last_turn_ = host;
}

void Admission::unlink_locked(Transfer* transfer) {
  HostQueue* host = transfer->host;
  (transfer->previous != nullptr ? transfer->previous->next : host->head) = transfer->next;
  (transfer->next != nullptr ? transfer->next->previous : host->tail) = transfer->previous;
  transfer->previous = transfer->next = nullptr;
  --queued_;
}

/// A host's home thread, so that its connections and TLS sessions are in one place, until that thread has its share of
/// all places; then the one with least to do.
unsigned Admission::choose_io_locked(const HostQueue& host) const {
  const std::size_t threads = load_.size();
  if (threads == 1) return 0;
  const std::size_t home = std::hash<std::string>{}(host.name) % threads;
  if (load_[home] < (max_concurrent_ + threads - 1) / threads) return static_cast<unsigned>(home);
  return static_cast<unsigned>(std::min_element(load_.begin(), load_.end()) - load_.begin());
}

void Admission::pump_locked(Burst& ready) noexcept {
  while (!closed_ && running_ < max_concurrent_ && first_turn_ != nullptr && !ready.full()) {
    HostQueue* host = first_turn_;
    first_turn_ = host->next_turn;
    if (first_turn_ == nullptr) last_turn_ = nullptr;
    host->in_turn = false;
    if (host->head == nullptr || !may_run(*host)) {  // its last one was cancelled, or its places went to redirects
      forget_host_locked(host);
      continue;
    }
    Transfer* transfer = host->head;
    unlink_locked(transfer);
    transfer->place = Transfer::Place::kRunning;
    if (!transfer->on_io_thread) transfer->io = choose_io_locked(*host);
    transfer->on_io_thread = true;
    ++host->running;
    ++running_;
    ++load_[transfer->io];
    ready.add(transfer->id, transfer->io);
    push_turn_locked(host);
  }
}

}  // namespace offloop::fetch
