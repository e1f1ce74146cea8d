// The pool's sleep and wake in small programs: workers, submitters, long tasks, an end. sleep_model_test.cpp explores
// them. The queues behind the protocol are a small stand-in: they live under a mutex, where nothing is to be explored.
#pragma once

#include <deque>
#include <memory>

#include "model/explorer/model_atomics.h"
#include "runtime/sleep_wake.h"

namespace offloop::model {

using runtime::SleepOrders;
using runtime::SleepWake;

/// A quick work runs at once. A long one runs until all quick ones have run: whoever has it must have handed over.
enum class Kind { kQuick, kLong };

struct Item {
  Plain<Item*> next{nullptr};
  Plain<int> value{0};
  Kind kind = Kind::kQuick;
  int runs = 0;
};

struct Parking;
struct Futexes {
  static constexpr unsigned kMost = 3;
  AtomicBits* words[kMost] = {};
  FutexSleeper sleepers[kMost];
  FutexSleeper& of(const AtomicBits& word) {
    for (unsigned i = 0; i < kMost; ++i)
      if (words[i] == &word) return sleepers[i];
    Explorer::current().fail("a futex that nobody has");
  }
};
inline Futexes* g_futexes = nullptr;

struct Parking {
  static void wait(Atomic<std::uint32_t>& word, std::uint32_t expected) {
    g_futexes->of(word.bits()).wait(word.bits(), expected);
  }
  static void wake(Atomic<std::uint32_t>& word) { g_futexes->of(word.bits()).wake(); }
  template <class Sleeper>
  static void place(Sleeper& /*sleeper*/) {}  // under the lock, before the store that says to rise: nothing to find
};

template <class Orders = SleepOrders>
struct Real : SleepWake<ModelAtomics, Item, Parking, Orders> {
  Real() : SleepWake<ModelAtomics, Item, Parking, Orders>(2) {
    this->inbox.bits().name("inbox");
    this->backlog_ns.bits().name("backlog");
    this->prompt.bits().name("prompt");
    this->sleeping.bits().name("sleeping");
    this->runnable.bits().name("runnable");
    this->closed.bits().name("closed");
    this->target.bits().name("target");
    this->wakes.bits().name("wakes");
  }
};

/// When all quick works have run.
class AllQuickDone final : public Object {
 public:
  int left = 0;
  [[nodiscard]] bool ready(unsigned) const override { return left == 0; }
  [[nodiscard]] std::uint64_t hash() const override { return static_cast<std::uint64_t>(left); }
};

/// Since the last submit: nobody is taken to be busy submitting, so that every wake happens that can.
inline constexpr std::int64_t kLongAgo = 1'000'000'000;

template <class Protocol>
struct Program {
  Futexes futexes;
  Protocol protocol;
  typename Protocol::Sleeper sleepers[Futexes::kMost];
  Item items[4];
  int submitted = 0;
  std::int64_t cost_ns = 0;
  AllQuickDone quick;
  // What the pool has under its mutex: the ring of groups with work, one for quick works and one for long ones.
  Mutex mutex;
  std::deque<Item*> waiting[2];
  std::deque<unsigned> ring;
  bool in_ring[2] = {false, false};

  explicit Program(unsigned workers) {
    g_futexes = &futexes;
    for (unsigned i = 0; i < Futexes::kMost; ++i) {
      futexes.words[i] = &sleepers[i].awake.bits();
      sleepers[i].awake.bits().name("awake");
    }
    protocol.target.store(workers, std::memory_order_relaxed);
    for (unsigned i = 0; i < workers; ++i) protocol.add_prompt();
  }

  // As Pool::submit().
  void submit(int i, Kind kind = Kind::kQuick) {
    items[i].kind = kind;
    items[i].value = i + 1;
    if (cost_ns != 0) protocol.backlog_ns.fetch_add(cost_ns, std::memory_order_relaxed);
    protocol.push(&items[i], &items[i]);
    if (protocol.closed_meanwhile()) {
      end_waiting();
    } else {
      protocol.wake_for_share(kLongAgo);
    }
  }
  // As Pool::Impl::end_waiting().
  void end_waiting() {
    mutex.lock();
    take_inbox();
    std::deque<Item*> all[2];
    for (unsigned group : {0U, 1U}) {
      all[group].swap(waiting[group]);
      if (in_ring[group]) protocol.ring_shrank();
      in_ring[group] = false;
    }
    ring.clear();
    mutex.unlock();
    for (auto& of_group : all)
      for (Item* item : of_group) run(*item);
  }
  void expect(int n, int quick_ones) {
    submitted = n;
    quick.left = quick_ones;
  }

  // As Pool::Impl::run().
  void work(unsigned index) {
    while (!leaves(index)) {
      Item* item = acquire();
      if (item == nullptr) {
        protocol.sleep(sleepers[index], index);
      } else if (item->kind == Kind::kQuick) {
        run(*item);
        give_back();
      } else {
        protocol.begin_long();
        Explorer::current().wait_for(quick);
        run(*item);
        protocol.end_long();
        give_back();
      }
    }
    protocol.leave();
    if (protocol.closed.load(std::memory_order_acquire)) end_waiting();
  }

  [[nodiscard]] bool leaves(unsigned index) {
    return protocol.closed.load(std::memory_order_acquire) || index >= protocol.target.load(std::memory_order_relaxed);
  }

  // As Pool::acquire() and Pool::Impl::take_inbox(). Under the mutex the ring is turned first, then `runnable` follows.
  Item* acquire() {
    mutex.lock();
    take_inbox();
    Item* item = nullptr;
    if (!ring.empty()) {
      const unsigned group = ring.front();
      ring.pop_front();
      in_ring[group] = false;
      protocol.ring_shrank();
      if (waiting[0].size() + waiting[1].size() > 1) protocol.wake_for_share(kLongAgo);
      item = waiting[group].front();
      waiting[group].pop_front();
      make_ready(group);
    }
    mutex.unlock();
    if (item == nullptr) return nullptr;
    if (cost_ns != 0) protocol.backlog_ns.fetch_sub(cost_ns, std::memory_order_relaxed);
    return item;
  }
  // As Pool::give_back(), when all has ended.
  void give_back() {
    mutex.lock();
    mutex.unlock();
  }
  // As Quantum::refill() of a long group, which finds nothing for itself.
  void refill() {
    if (protocol.inbox.load(std::memory_order_relaxed) == nullptr &&
        protocol.runnable.load(std::memory_order_relaxed) == 0)
      return;
    mutex.lock();
    take_inbox();
    mutex.unlock();
    protocol.drew_while_long();
  }
  void take_inbox() {
    for (Item* item = protocol.draw(); item != nullptr; item = item->next) {
      const unsigned group = item->kind == Kind::kQuick ? 0 : 1;
      waiting[group].push_front(item);
    }
    make_ready(0);
    make_ready(1);
  }
  void make_ready(unsigned group) {
    if (in_ring[group] || waiting[group].empty()) return;
    in_ring[group] = true;
    ring.push_back(group);
    protocol.ring_grew();
  }
  void run(Item& item) {
    Explorer::current().require(item.value == static_cast<int>(&item - items) + 1, "a work came without its contents");
    ++item.runs;
    if (item.kind == Kind::kQuick) --quick.left;
  }
  void each_ran_once() {
    for (int i = 0; i < submitted; ++i) {
      Explorer::current().require(items[i].runs != 0, "work is queued and everybody sleeps or is busy for long");
      Explorer::current().require(items[i].runs == 1, "a work ran twice");
    }
    const std::uint32_t asleep = protocol.sleeping.load(std::memory_order_relaxed);
    if (!protocol.closed.load(std::memory_order_relaxed)) {
      Explorer::current().require(asleep + protocol.prompt.load(std::memory_order_relaxed) == expected_workers,
                                  "the counts are off");
    }
  }
  std::uint32_t expected_workers = 0;
};

template <class P>
void add_workers(Explorer& e, const std::shared_ptr<P>& p, unsigned n) {
  static const char* names[] = {"worker 0", "worker 1", "worker 2"};
  p->expected_workers = n;
  for (unsigned i = 0; i < n; ++i)
    e.thread(
        names[i], [p, i] { p->work(i); }, true);
  e.at_end([p] { p->each_ran_once(); });
}

/// One worker and two submitters: the submits meet it while it falls asleep.
template <class Protocol>
void one_worker(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(1);
  p->expect(2, 2);
  add_workers(e, p, 1);
  e.thread("submitter A", [p] { p->submit(0); });
  e.thread("submitter B", [p] { p->submit(1); });
}

/// Two workers and enough backlog to wake the second one.
template <class Protocol>
void two_workers(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(2);
  p->expect(2, 2);
  p->cost_ns = 100'000;
  add_workers(e, p, 2);
  e.thread("submitter", [p] {
    p->submit(0);
    p->submit(1);
  });
}

/// A worker turns to a long task while a quick one is submitted: hand-over 1.
template <class Protocol>
void long_task(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(2);
  p->expect(2, 1);
  add_workers(e, p, 2);
  e.thread("submitter", [p] {
    p->submit(0, Kind::kLong);
    p->submit(1);
  });
}

/// A long task takes the inbox into the queues while the other worker falls asleep: hand-over 2. It has begun already:
/// that another worker has turned to it is another four interruptions, and long_task()'s subject.
template <class Protocol>
void long_task_that_refills(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(2);
  p->expect(1, 1);
  p->expected_workers = 2;
  e.thread(
      "worker 0",
      [p] {
        p->protocol.begin_long();
        p->refill();
        Explorer::current().wait_for(p->quick);
        p->protocol.end_long();
        p->work(0);
      },
      true);
  e.thread(
      "worker 1", [p] { p->work(1); }, true);
  e.thread("submitter", [p] { p->submit(0); });
  e.at_end([p] { p->each_ran_once(); });
}

/// The pool shrinks to one worker while work is submitted: hand-over 3.
template <class Protocol>
void shrink(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(2);
  p->expect(1, 1);
  add_workers(e, p, 2);
  p->expected_workers = 1;
  e.thread("submitter", [p] { p->submit(0); });
  e.thread("configure", [p] {
    p->protocol.target.store(1, SleepOrders::kEnd);
    p->protocol.wake_all();
  });
}

/// A worker is counted and then its thread cannot be started: hand-over 4.
template <class Protocol>
void start_that_fails(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(1);
  p->expect(1, 1);
  add_workers(e, p, 1);
  e.thread("submitter", [p] { p->submit(0); });
  e.thread("starter", [p] {
    p->protocol.add_prompt();
    p->protocol.take_back();
  });
}

/// Nobody may be asleep when the pool has been closed.
template <class Protocol>
void close_pool(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(2);
  add_workers(e, p, 2);
  e.thread("shutdown", [p] { p->protocol.close(); });
  e.at_end([p] {
    Explorer::current().require(p->protocol.sleeping.load(std::memory_order_relaxed) == 0,
                                "a worker sleeps in a closed pool");
    Explorer::current().require(p->protocol.prompt.load(std::memory_order_relaxed) == 0,
                                "a worker of a closed pool is still counted");
  });
}

/// Work is submitted while the pool is closed: it runs, or is ended by whoever looks last.
template <class Protocol>
void close_while_submitting(Explorer& e) {
  auto p = std::make_shared<Program<Protocol>>(1);
  p->expect(2, 2);
  add_workers(e, p, 1);
  e.thread("submitter", [p] {
    p->submit(0);
    p->submit(1);
  });
  e.thread("shutdown", [p] {
    p->protocol.close();
    p->end_waiting();
  });
}

}  // namespace offloop::model
