// Submitting, taking and giving back. Threads, sleep and wake: pool_threads.cpp. The process's one pool:
// pool_instance.cpp.
#include "offloop/runtime/pool.h"

#include <sched.h>

#include <algorithm>

#include "offloop/runtime/clock.h"
#include "pool_impl.h"

namespace offloop::runtime {
namespace {

/// Publishes ended works and gives them to their sinks: a run of works for the same sink as one chain, newest first, so
/// that a burst is one push and one wake. count(work, now) is called for each.
template <class F>
void hand_to_sinks(PortItem* item, F count) noexcept {
  const std::int64_t now = now_ns();
  while (item != nullptr) {
    Sink* sink = static_cast<Work*>(item)->sink;
    PortItem* chain = nullptr;
    PortItem* oldest = item;
    while (item != nullptr && static_cast<Work*>(item)->sink == sink) {
      auto* work = static_cast<Work*>(item);
      item = item->next;
      count(*work, now);
      work->ended_ns = now;
      work->next = chain;
      chain = work;
      work->phase.store(Phase::kEnded, std::memory_order_release);
    }
    sink->accept(chain, oldest);
  }
}

}  // namespace

bool Pool::submit(Work* first, std::size_t n) noexcept {
  Impl& s = *impl_;
  if (s.closed.load(std::memory_order_acquire)) return false;
  const std::int64_t now = now_ns();
  // The inbox is newest first, so the chain is turned round while its works are marked.
  std::int64_t cost = 0;
  Work* top = nullptr;
  Work* work = first;
  for (std::size_t i = 0; i < n; ++i) {
    Work* next = static_cast<Work*>(work->next);
    if (work->submitted_ns == 0) work->submitted_ns = now;
    work->phase.store(Phase::kQueued, std::memory_order_relaxed);  // published by the push below
    cost += work->cost_ns;
    work->next = top;
    top = work;
    work = next;
  }
  s.backlog_ns.fetch_add(cost, std::memory_order_relaxed);
  s.push(first, top);
  if (s.closed_meanwhile()) {
    s.end_waiting();  // nobody may be left who would take it
    return true;
  }
  s.last_submit_ns.store(now, std::memory_order_relaxed);
  s.submitter.note();
  s.wake_for_share(now);
  return true;
}

/// wake_for_share() takes a submitter that pauses for one that sleeps. This one may be delivering what it got.
void Pool::Impl::share_what_waits(std::int64_t now) noexcept {
  if (sleeping.load(std::memory_order_relaxed) != 0 &&
      now - last_submit_ns.load(std::memory_order_relaxed) >= kSubmitterBusyNs && placement.matters() &&
      submitter.runs())
    last_submit_ns.store(now, std::memory_order_relaxed);
  wake_for_share(now);
}

void Pool::Impl::take_inbox() noexcept {
  Work* newest = draw();
  PortItem* oldest = nullptr;
  while (newest != nullptr) {
    Work* next = static_cast<Work*>(newest->next);
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    Work* work = static_cast<Work*>(oldest);
    oldest = oldest->next;
    enqueue(work);
  }
}

void Pool::Impl::enqueue(Work* work) noexcept {
  Group* group = work->group;
  if (group->owner_ != pool) adopt(group);
  work->next = nullptr;
  if (group->last_ == nullptr) {
    group->first_ = work;
  } else {
    group->last_->next = work;
  }
  group->last_ = work;
  ++group->waiting_;
  ++waiting;
  make_ready(group);
}

/// First work of this group in this pool: nothing that a pool before a fork has left in it is true here.
void Pool::Impl::adopt(Group* group) noexcept {
  group->first_ = group->last_ = nullptr;
  group->waiting_ = group->held_ = group->workers_ = 0;
  group->ready_next_ = nullptr;
  group->ready_ = false;
  group->owner_ = pool;
  group->pool_next_ = groups;
  groups = group;
}

/// Ends what waits in a closed pool as stopped: its workers are leaving or gone. Called by who closes the pool, by each
/// worker that leaves it (which may have given something back), and by a submitter that was overtaken by the end.
void Pool::Impl::end_waiting() noexcept {
  PortItem* first = nullptr;
  {
    const std::lock_guard lock(mutex);
    take_inbox();
    for (Group* group = groups; group != nullptr; group = group->pool_next_) {
      if (group->ready_) leave_ring(group);
      if (group->first_ == nullptr) continue;
      group->last_->next = first;
      first = group->first_;
      group->first_ = group->last_ = nullptr;
      waiting -= group->waiting_;
      group->waiting_ = 0;
    }
  }
  if (first == nullptr) return;
  for (PortItem* item = first; item != nullptr; item = item->next)
    static_cast<Work*>(item)->outcome = Outcome::kStopped;
  hand_to_sinks(first,
                [this](const Work&, std::int64_t) noexcept { never_ran.fetch_add(1, std::memory_order_relaxed); });
}

void Pool::Impl::make_ready(Group* group) noexcept {
  if (group->ready_ || group->waiting_ == 0) return;
  if (group->max_workers != 0 && group->workers_ >= group->max_workers) return;
  group->ready_ = true;
  group->ready_next_ = nullptr;
  if (ring_last == nullptr) {
    ring_first = group;
  } else {
    ring_last->ready_next_ = group;
  }
  ring_last = group;
  ring_grew();
}

/// The first of the ring, but for one thing: a long group's turn takes as long as it takes, a prompt one's a quantum.
/// So that streams behind a row of long tasks do not get one quantum a task, prompt groups come first until they have
/// had as much time as long ones have had before them.
Group* Pool::Impl::next_ready() noexcept {
  Group* group = ring_first;
  if (long_debt_ns > 0) {
    while (group != nullptr && !group->prompt) group = group->ready_next_;
    if (group == nullptr) {
      long_debt_ns = 0;  // nobody to give it to
      group = ring_first;
    }
  }
  if (group != nullptr) leave_ring(group);
  return group;
}

void Pool::Impl::leave_ring(Group* group) noexcept {
  Group* before = nullptr;
  for (Group* at = ring_first; at != group; at = at->ready_next_) before = at;
  (before == nullptr ? ring_first : before->ready_next_) = group->ready_next_;
  if (ring_last == group) ring_last = before;
  group->ready_ = false;
  ring_shrank();
}

/// Moves up to `lanes` waiting works into the quantum; what was stopped while it waited ends here. Returns their cost.
std::int64_t Pool::Impl::fill(Quantum& q, Group* group, unsigned lanes) noexcept {
  std::int64_t cost = 0;
  while (q.count < lanes && group->first_ != nullptr) {
    Work* work = group->first_;
    group->first_ = static_cast<Work*>(work->next);
    if (group->first_ == nullptr) group->last_ = nullptr;
    --group->waiting_;
    --waiting;
    cost += work->cost_ns;
    q.works[q.count++] = work;
    Phase expected = Phase::kQueued;
    if (!work->phase.compare_exchange_strong(expected, Phase::kRunning, std::memory_order_acq_rel) ||
        work->stop_requested()) {
      q.end(q.count - 1, Outcome::kStopped);
    }
  }
  held -= q.account();
  return cost;
}

bool Pool::acquire(Quantum& q) noexcept {
  Impl& s = *impl_;
  std::int64_t cost = 0;
  {
    const std::lock_guard lock(s.mutex);
    s.take_inbox();
    Group* group = s.next_ready();
    while (group != nullptr && group->waiting_ == 0) group = s.next_ready();  // emptied by a refill meanwhile
    if (group == nullptr) return false;
    // Before the lanes are dealt out, so that who is woken counts: two long streams are two workers' work, not one
    // pair's. Nobody for what only this worker may take: he would look in vain, once a quantum.
    const bool others_may =
        s.ring_first != nullptr || group->max_workers == 0 || group->workers_ + 1 < group->max_workers;
    if (s.waiting > 1 && others_may) s.share_what_waits(now_ns());
    const unsigned workers = std::max(1U, s.prompt.load(std::memory_order_relaxed));
    q.group_ = group;
    q.timed_ = !group->prompt || s.long_debt_ns > 0;
    q.limit_ = std::max(1U, group->lanes_to_take(group->waiting_ + group->held_, workers));
    cost = s.fill(q, group, q.limit_);
    ++group->workers_;
    s.make_ready(group);
  }
  s.backlog_ns.fetch_sub(cost, std::memory_order_relaxed);
  q.flush();
  q.mark_started(0);
  q.worker_.quanta.add(1);
  return true;
}

void Pool::give_back(Quantum& q) noexcept {
  Impl& s = *impl_;
  q.flush();
  std::int64_t cost = 0;
  {
    const std::lock_guard lock(s.mutex);
    Group* group = q.group_;
    --group->workers_;
    if (q.timed_) {
      s.long_debt_ns = std::min(kMostLongDebtNs, s.long_debt_ns + (group->prompt ? -q.run_ns_ : q.run_ns_));
    }
    const unsigned unfinished = q.count;
    q.count = 0;
    s.held -= q.account();
    for (unsigned i = 0; i < unfinished; ++i) {
      Work* work = q.works[i];
      cost += work->cost_ns;
      // release: the canceller that takes it from here may free the input that this worker has read.
      work->phase.store(Phase::kQueued, std::memory_order_release);
      s.enqueue(work);
    }
    s.make_ready(group);  // it may have been at its limit of workers
  }
  if (cost != 0) s.backlog_ns.fetch_add(cost, std::memory_order_relaxed);
}

void Pool::forget(Group& group) noexcept {
  Pool* pool = instance_if_started();
  if (pool == nullptr || group.owner_ != pool) return;
  Impl& s = *pool->impl_;
  while (true) {
    {
      const std::lock_guard lock(s.mutex);
      if (group.ready_) s.leave_ring(&group);  // a refill took its last works: it stood there for nothing
      if (group.workers_ == 0) {
        Group** link = &s.groups;
        while (*link != &group) link = &(*link)->pool_next_;
        *link = group.pool_next_;
        group.owner_ = nullptr;
        return;
      }
    }
    ::sched_yield();  // at most what give_back() still has to do
  }
}

unsigned Quantum::worker_index() const noexcept {
  return worker_.index;
}

unsigned Quantum::refill() noexcept {
  Pool::Impl& s = *pool_.impl_;
  // Two loads on the way when nothing waits: the common end of a burst must not cost a lock. A group at its limit of
  // workers is not in the ring although it may have works waiting.
  if (s.inbox.load(std::memory_order_relaxed) == nullptr && s.runnable.load(std::memory_order_relaxed) == 0 &&
      group_->max_workers == 0)
    return 0;
  const unsigned before = count;
  std::int64_t cost = 0;
  {
    const std::lock_guard lock(s.mutex);
    s.take_inbox();
    const unsigned workers = std::max(1U, s.prompt.load(std::memory_order_relaxed));
    limit_ = std::max(1U, group_->lanes_to_take(group_->waiting_ + group_->held_, workers));
    cost = s.fill(*this, group_, limit_);
  }
  s.backlog_ns.fetch_sub(cost, std::memory_order_relaxed);
  if (!group_->prompt) s.drew_while_long();
  mark_started(before);
  return count - before;
}

bool Quantum::goes_on() const noexcept {
  const Pool::Impl& s = *pool_.impl_;
  return count == 1 && !works[0]->stop_requested() && group_->max_workers == 0 &&
         s.inbox.load(std::memory_order_relaxed) == nullptr && s.runnable.load(std::memory_order_relaxed) == 0 &&
         !s.closed.load(std::memory_order_relaxed);
}

/// Brings the group's count of held works up to date. Returns by how many it fell (modulo 2^64 when it grew).
std::uint64_t Quantum::account() noexcept {
  const std::uint64_t fell = std::uint64_t{accounted_} - count;
  group_->held_ += count;
  group_->held_ -= accounted_;
  accounted_ = count;
  return fell;
}

void Quantum::mark_started(unsigned from) noexcept {
  if (from == count) return;
  const std::int64_t now = now_ns();
  for (unsigned i = from; i < count; ++i) {
    if (works[i]->started_ns != 0) continue;
    works[i]->started_ns = now;
    works[i]->worker = static_cast<std::uint8_t>(std::min(worker_.index, 254U) + 1);
    worker_.queue_ns.record(now - works[i]->submitted_ns);
  }
  worker_.lanes.add(count - from);
}

// Does not look at the work: its owner may have submitted it again already, or freed it.
void Quantum::release(unsigned i) noexcept {
  works[i] = works[--count];
}

void Quantum::end(unsigned i, Outcome outcome) noexcept {
  Work* work = works[i];
  works[i] = works[--count];
  work->outcome = outcome;
  work->next = nullptr;
  if (ended_last_ == nullptr) {
    ended_first_ = work;
  } else {
    ended_last_->next = work;
  }
  ended_last_ = work;
}

void Quantum::flush() noexcept {
  if (ended_first_ == nullptr) return;
  PortItem* first = ended_first_;
  ended_first_ = ended_last_ = nullptr;
  hand_to_sinks(first, [this](const Work& work, std::int64_t now) noexcept {
    switch (work.outcome) {
      case Outcome::kStopped:
        worker_.stopped.add(1);
        break;
      case Outcome::kError:
      case Outcome::kOutOfMemory:
        worker_.failed.add(1);
        break;
      default:
        worker_.done.add(1);
        break;
    }
    if (work.started_ns != 0) worker_.run_ns.record(now - work.started_ns);
  });
}

}  // namespace offloop::runtime
