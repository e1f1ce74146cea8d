// The pool's sleep and wake without the pool: who counts on whom, who looks again, who wakes whom.
//
// Two counts: `prompt`, workers that will look at the queue again within a quantum (running a prompt group, spinning,
// starting, or woken and on their way), and `sleeping`, workers in the idle list.
//
//     submitter:  push inbox;                  then read prompt, sleeping -> wake one if nobody is prompt or
//                                                                           too much waits
//     sleeper:    prompt - 1, sleeping + 1;    then read inbox, runnable  -> stay awake if there is something
//
// All of these are seq_cst, so at least one of the two sees the other (Dekker): work is never queued while all who
// could take it sleep and nobody wakes them. Sequentially consistent operations instead of relaxed ones and a fence:
// the same instructions on x86-64, and ThreadSanitizer knows them.
//
// Whoever stops being prompt without going to sleep must look once more after it has subtracted itself, and hand over:
// begin_long(), drew_while_long(), leave(), take_back(). tests/cpp/model/sleep_model_test.cpp runs this code in the
// interleavings of small programs and with every stale value, and shows that each look and each hand-over is needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace offloop::runtime {

/// A queue longer than this many nanoseconds of work for each awake worker wakes another one: a futex wake costs the
/// waker 2-5 us on a virtual machine, and the woken worker some 30 us until it runs.
inline constexpr std::int64_t kWakeBacklogNs = 50'000;
/// Who has submitted something so recently is taken to be still running, see wake_for_share().
inline constexpr std::int64_t kSubmitterBusyNs = 30'000;

struct SleepOrders {
  // The handshake: what is written before the other side is looked at, and the looks. kRing would do with less,
  // for has_work() looks again after it; it is seq_cst so that there is one rule.
  static constexpr auto kPush = std::memory_order_seq_cst;       ///< CAS of the inbox
  static constexpr auto kDraw = std::memory_order_seq_cst;       ///< exchange of the inbox
  static constexpr auto kRing = std::memory_order_seq_cst;       ///< +1, -1 of runnable
  static constexpr auto kCount = std::memory_order_seq_cst;      ///< +1, -1 of prompt and sleeping
  static constexpr auto kSeeWork = std::memory_order_seq_cst;    ///< loads of inbox and runnable by who gives up
  static constexpr auto kSeeCounts = std::memory_order_seq_cst;  ///< loads of prompt and sleeping by who submits
  // The end needs no order of its own. Who joins the idle list after wake_all() has the list's lock after it. A push
  // after the last draw() reads what that has left, so it acquires what came before: closed.
  static constexpr auto kEnd = std::memory_order_release;     ///< stores of closed and target
  static constexpr auto kSeeEnd = std::memory_order_acquire;  ///< their loads
};

/// Item is linked by `next`; Parking has wait(word, expected) and wake(word), as futex(2) has them, and place(sleeper),
/// which is called before one that sleeps is told to rise, and may choose where it will run.
template <class A, class Item, class Parking, class Orders = SleepOrders>
class SleepWake {
  template <class T>
  using Atomic = typename A::template Atomic<T>;

 public:
  explicit SleepWake(unsigned available_cpus) noexcept : cpus(available_cpus) {}
  SleepWake(const SleepWake&) = delete;
  SleepWake& operator=(const SleepWake&) = delete;

  /// What a worker sleeps on.
  struct Sleeper {
    typename A::template Plain<Sleeper*> idle_next{nullptr};  ///< guarded by idle_mutex
    Atomic<std::uint32_t> awake{1};                           ///< futex word: 0 while it may sleep
  };

  // [any thread]
  void push(Item* bottom, Item* top) noexcept {
    Item* head = inbox.load(std::memory_order_relaxed);
    do {
      bottom->next = head;
    } while (!inbox.compare_exchange_weak(head, top, Orders::kPush, std::memory_order_relaxed));
  }

  /// After a push: the end may have come between, and its last look before.
  [[nodiscard]] bool closed_meanwhile() const noexcept { return closed.load(Orders::kSeeEnd); }

  /// After a push, and after work was taken while more waits. [any thread]
  void wake_if_behind() noexcept {
    const std::uint32_t looking = prompt.load(Orders::kSeeCounts);
    if (looking != 0 && backlog_ns.load(std::memory_order_relaxed) <= kWakeBacklogNs * looking) return;
    if (sleeping.load(Orders::kSeeCounts) == 0) return;
    wake_one();
  }

  /// wake_if_behind() for those who will look again within a quantum anyway. Where this would be the worker of the last
  /// CPU, and whoever submits still runs on it, it waits until the submitter has paused: a worker woken before finds no
  /// free CPU and is queued behind another worker. A kernel that packs tasks on few CPUs (virtual machines of sandboxes
  /// do) leaves it there for 4 to 15 ms after the submitter has gone to sleep: 1,000 x 100 KB took 45 ms on two CPUs,
  /// and 29 ms with this. [any thread]
  void wake_for_share(std::int64_t now) noexcept {
    const std::uint32_t looking = prompt.load(Orders::kSeeCounts);
    if (looking != 0 && looking + 1 >= cpus && now - last_submit_ns.load(std::memory_order_relaxed) < kSubmitterBusyNs)
      return;
    wake_if_behind();
  }

  /// Refuses and wakes everybody, who then leaves. Whoever calls it draws once more afterwards: either that finds what
  /// was pushed meanwhile, or closed_meanwhile() tells the submitter.
  void close() noexcept {
    closed.store(true, Orders::kEnd);
    wake_all();
  }

  /// A thread is about to be started for a worker; take_back() when that failed: a submitter may have counted on it.
  void add_prompt() noexcept { prompt.fetch_add(1, Orders::kCount); }
  void take_back() noexcept { stop_looking(); }

  // [worker]
  /// The whole inbox, newest first. Only under the lock of the queues that it goes to.
  Item* draw() noexcept { return inbox.exchange(nullptr, Orders::kDraw); }
  void ring_grew() noexcept { runnable.fetch_add(1, Orders::kRing); }
  void ring_shrank() noexcept { runnable.fetch_sub(1, Orders::kRing); }

  [[nodiscard]] bool has_work() const noexcept {
    return inbox.load(Orders::kSeeWork) != nullptr || runnable.load(Orders::kSeeWork) != 0;
  }

  /// From here on this worker may take long: it no longer counts as somebody who will look soon, and hands over.
  void begin_long() noexcept { stop_looking(); }
  void end_long() noexcept { prompt.fetch_add(1, Orders::kCount); }
  /// After draw() between begin_long() and end_long(): what came out of the inbox for others has nobody if another
  /// worker fell asleep while it was in these hands.
  void drew_while_long() noexcept { hand_over(); }
  void leave() noexcept { stop_looking(); }

  /// Sleeps until it is woken; returns at once if there is something to do or the pool has no place for worker `index`.
  void sleep(Sleeper& self, unsigned index) noexcept {
    lie_down(self);
    if (must_rise(index)) return rise(self);
    while (self.awake.load(std::memory_order_acquire) == 0) Parking::wait(self.awake, 0);
  }

  [[gnu::noinline]] void wake_all() noexcept {
    // Those in the list now: who joins it later looks at `closed` and `target` after that. One at a time by wake_one()
    // could wake the same few again and again, for those who may stay go back to sleep at once.
    const std::lock_guard lock(idle_mutex);
    while (Sleeper* sleeper = pop()) Parking::wake(sleeper->awake);
  }

  alignas(64) Atomic<Item*> inbox{nullptr};  ///< what was submitted, newest first; anyone pushes, workers take all
  alignas(64) Atomic<std::int64_t> backlog_ns{0};  ///< estimated cost of what no worker has taken
  Atomic<std::int64_t> last_submit_ns{0};
  const unsigned cpus;
  alignas(64) Atomic<std::uint32_t> prompt{0};  ///< workers that look at the queue again within a quantum
  Atomic<std::uint32_t> sleeping{0};            ///< workers in the idle list
  Atomic<std::uint32_t> runnable{0};            ///< groups in the ring; written under the queues' lock
  Atomic<bool> closed{false};
  Atomic<std::uint32_t> target{0};  ///< workers with an index at or above this one leave
  Atomic<std::uint64_t> wakes{0};

 protected:  // the steps; a mutant of the model leaves one out
  void hand_over() noexcept {
    if (has_work()) wake_if_behind();
  }

  void stop_looking() noexcept {
    prompt.fetch_sub(1, Orders::kCount);
    hand_over();
  }

  void lie_down(Sleeper& self) noexcept {
    const std::lock_guard lock(idle_mutex);
    self.awake.store(0, std::memory_order_relaxed);
    self.idle_next = idle_first;
    idle_first = &self;
    prompt.fetch_sub(1, Orders::kCount);
    sleeping.fetch_add(1, Orders::kCount);
  }

  [[nodiscard]] bool must_rise(unsigned index) const noexcept {
    return has_work() || closed.load(Orders::kSeeEnd) || index >= target.load(Orders::kSeeEnd);
  }

  void rise(Sleeper& self) noexcept {
    const std::lock_guard lock(idle_mutex);
    Sleeper* before = nullptr;
    for (Sleeper* at = idle_first; at != nullptr; before = at, at = at->idle_next) {
      if (at != &self) continue;
      if (before == nullptr) {
        idle_first = at->idle_next;
      } else {
        before->idle_next = at->idle_next;
      }
      prompt.fetch_add(1, Orders::kCount);
      sleeping.fetch_sub(1, Orders::kCount);
      return;
    }
    // Somebody has woken us between: the counts are theirs.
  }

  [[gnu::noinline]] void wake_one() noexcept {  // rare: not in the middle of submit()
    Sleeper* sleeper = nullptr;
    {
      const std::lock_guard lock(idle_mutex);
      if (Sleeper* next = idle_first) Parking::place(*next);
      sleeper = pop();
    }
    if (sleeper == nullptr) return;
    wakes.fetch_add(1, std::memory_order_relaxed);
    Parking::wake(sleeper->awake);
  }

  /// The last to sleep is the first to wake: its caches are warm. Counted for the sleeper here, so that the next submit
  /// does not wake another one for the same backlog. Under idle_mutex.
  Sleeper* pop() noexcept {
    Sleeper* sleeper = idle_first;
    if (sleeper == nullptr) return nullptr;
    idle_first = sleeper->idle_next;
    prompt.fetch_add(1, Orders::kCount);
    sleeping.fetch_sub(1, Orders::kCount);
    sleeper->awake.store(1, std::memory_order_release);
    return sleeper;
  }

  typename A::Mutex idle_mutex;  ///< guards the idle list; no lock is taken inside it
  typename A::template Plain<Sleeper*> idle_first{nullptr};
};

}  // namespace offloop::runtime
