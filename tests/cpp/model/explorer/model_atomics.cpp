#include "model/explorer/model_atomics.h"

namespace offloop::model {
namespace {

std::array<LastLoad, kMaxThreads> g_last_loads;

}  // namespace

LastLoad& last_load(unsigned thread) {
  return g_last_loads[thread];
}

const char* name_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    case std::memory_order_seq_cst:
      return "seq_cst";
    default:
      return "consume";
  }
}

AtomicBits::AtomicBits(std::uint64_t value) {
  Explorer& e = Explorer::current();
  location_ = e.memory.add(e.self(), value);
}

AtomicBits::~AtomicBits() {
  // A destructor must not leave by fail() while main tears an execution down; there nobody is left who could race.
  Explorer& e = Explorer::current();
  if (e.self() == 0) return;
  if (!e.memory.remove(e.self(), location_))
    e.fail("destroyed while another thread may be using it: " + e.location_name(location_));
}

Explorer& AtomicBits::begin() const {
  Explorer& e = Explorer::current();
  e.point();
  if (!e.memory.locations[location_].alive) e.fail("used after its end: " + e.location_name(location_));
  return e;
}

std::string AtomicBits::describe(const char* what, std::memory_order order, std::uint64_t value) const {
  return std::string(what) + " " + Explorer::current().location_name(location_) + " " + name_of(order) + ": " +
         std::to_string(value);
}

std::uint64_t AtomicBits::newest() const {
  const Memory::Location& l = Explorer::current().memory.locations[location_];
  return l.messages[l.newest].value;
}

std::uint64_t AtomicBits::load(std::memory_order order) const {
  Explorer& e = begin();
  const unsigned newest = e.memory.newest(location_);
  const unsigned oldest = e.memory.oldest_readable(e.self(), location_, order);
  const unsigned index = newest - e.choose(newest - oldest + 1);
  const std::uint64_t value = e.memory.read(e.self(), location_, index, order);
  last_load(e.self()) = {location_, index};
  e.say([&] { return describe("load", order, value) + (index != newest ? " (stale)" : ""); });
  e.memory.tick(e.self());
  return value;
}

void AtomicBits::store(std::uint64_t value, std::memory_order order) {
  Explorer& e = begin();
  if (!e.memory.write(e.self(), location_, value, order))
    e.fail("stores that race with each other are beyond this model: " + e.location_name(location_));
  e.say([&] { return describe("store", order, value); });
  e.memory.tick(e.self());
}

bool AtomicBits::compare_exchange(std::uint64_t& expected, std::uint64_t desired, std::memory_order success,
                                  std::memory_order failure) {
  Explorer& e = begin();
  const Memory::Location& l = e.memory.locations[location_];
  std::array<unsigned, 256> outcomes;
  unsigned n = 0;
  if (l.messages[l.newest].value == expected) outcomes[n++] = l.newest;
  for (unsigned i = l.newest + 1; i-- > e.memory.oldest_readable(e.self(), location_, failure);)
    if (l.messages[i].value != expected) outcomes[n++] = i;
  const unsigned index = outcomes[e.choose(n)];
  const bool done = l.messages[index].value == expected;
  if (done) {
    e.memory.replace(e.self(), location_, desired, success);
    e.say([&] { return describe("CAS", success, expected) + " -> " + std::to_string(desired); });
  } else {
    expected = e.memory.read(e.self(), location_, index, failure);
    e.say([&] { return describe("failed CAS", failure, expected); });
  }
  e.memory.tick(e.self());
  return done;
}

void Access::check(unsigned other, std::uint16_t when, const char* kind) const {
  Explorer& e = Explorer::current();
  if (!e.memory.happened_before(e.self(), other, when))
    e.fail("data race on " + std::string(what_) + " with a " + kind + " of thread " + std::to_string(other));
}

void Access::read() const {
  Explorer& e = Explorer::current();
  check(writer_, written_, "write");
  reads_[e.self()] = e.memory.threads[e.self()].now;
}

void Access::write() {
  Explorer& e = Explorer::current();
  check(writer_, written_, "write");
  for (unsigned t = 0; t < kMaxThreads; ++t) check(t, reads_[t], "read");
  writer_ = e.self();
  written_ = e.memory.threads[e.self()].now;
}

void Mutex::lock() {
  Explorer& e = Explorer::current();
  if (e.self() == 0) return;
  e.wait_for(*this);
  owner_ = e.self();
  e.memory.threads[e.self()].known.join(knowledge_);
  e.memory.note(e.self(), last_);
  e.say([] { return std::string("lock"); });
}

void Mutex::unlock() {
  Explorer& e = Explorer::current();
  if (e.self() == 0) return;
  // No point before it: until it is unlocked nobody who wants the lock can do anything, and everybody else may go
  // before or after the owner's other steps.
  e.memory.tick(e.self());
  knowledge_ = e.memory.threads[e.self()].known;
  e.memory.note(e.self(), 55);
  last_ = mix(e.memory.threads[e.self()].history, e.self());
  owner_ = 0;
  e.say([] { return std::string("unlock"); });
}

void EventFd::use(const char* what) {
  Explorer& e = Explorer::current();
  e.point();
  e.require(!closed_, "a descriptor is used after it was closed: its number may be somebody else's");
  e.require(!e.forked(), "a forked child touches the descriptor that it shares with its parent");
  access_.read();
  e.say([&] { return std::string(what) + " the eventfd, count " + std::to_string(count_); });
}

void EventFd::write() {
  use("write");
  Explorer& e = Explorer::current();
  ++count_;
  e.memory.note(e.self(), 33);
  e.memory.tick(e.self());
}

std::uint64_t EventFd::read() {
  use("read");
  Explorer& e = Explorer::current();
  const std::uint64_t count = count_;
  count_ = 0;
  e.memory.note(e.self(), mix(44, count));
  e.memory.tick(e.self());
  return count;
}

void EventFd::poll() {
  Explorer& e = Explorer::current();
  e.wait_for(*this);
  e.say([] { return std::string("the eventfd is readable"); });
  e.memory.note(e.self(), 66);
}

void EventFd::close() {
  Explorer& e = Explorer::current();
  e.point();
  e.require(!closed_, "a descriptor is closed twice");
  closed_ = true;
  access_.write();
  e.say([] { return std::string("close the eventfd"); });
  e.memory.note(e.self(), 88);
  e.memory.tick(e.self());
}

void FutexSleeper::wait(AtomicBits& word, std::uint64_t expected) {
  Explorer& e = Explorer::current();
  e.point();
  const bool sleeps = word.newest() == expected;  // the kernel looks under its lock: no old value
  e.memory.note(e.self(), sleeps ? 21 : 22);
  e.say([&] { return std::string(sleeps ? "futex_wait: sleeps" : "futex_wait: the value has changed"); });
  if (sleeps) {
    asleep_ = true;
    e.wait_for(*this);
  }
  e.wait_for_newer(word.location(), last_load(e.self()).index);
}

void FutexSleeper::wake() {
  Explorer& e = Explorer::current();
  e.point();
  e.memory.note(e.self(), asleep_ ? 31 : 32);
  e.say([&] { return std::string(asleep_ ? "futex_wake: wakes it" : "futex_wake: nobody sleeps"); });
  asleep_ = false;
}

void yield() {
  Explorer& e = Explorer::current();
  const LastLoad seen = last_load(e.self());
  e.say([] { return std::string("looks again when there is something newer"); });
  e.wait_for_newer(seen.location, seen.index);
}

}  // namespace offloop::model
