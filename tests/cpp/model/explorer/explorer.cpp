#include "model/explorer/explorer.h"

#include <cstdlib>

namespace offloop::model {

Outcome Explorer::explore(const Program& program, const Options& options) {
  Explorer explorer(options);
  current_ = &explorer;
  Outcome outcome;
  do {
    explorer.execute(program);
    ++outcome.executions;
    if (!explorer.violation_.empty()) {  // once more, with words
      explorer.tracing_ = true;
      explorer.execute(program);
      outcome.violation = explorer.violation_;
      outcome.trace = explorer.trace_;
      break;
    }
    if (explorer.visited_.size() > options.max_states) break;
    outcome.complete = !explorer.next_choices();
  } while (!outcome.complete);
  outcome.states = explorer.visited_.size();
  for (Thread& thread : explorer.threads_) thread.body = nullptr;  // they hold the program's state
  explorer.check_ = nullptr;
  current_ = nullptr;
  return outcome;
}

std::string Outcome::text() const {
  std::string all = violation.empty() ? (complete ? "no violation" : "the search was cut off") : violation;
  all += " (" + std::to_string(executions) + " executions, " + std::to_string(states) + " states)";
  for (const std::string& line : trace) all += "\n  " + line;
  return all;
}

void Explorer::execute(const Program& program) {
  memory.reset();
  objects_.clear();
  cursor_ = 0;
  count_ = running_ = last_ = 0;
  preempted_ = 0;
  forked_ = false;
  violation_.clear();
  trace_.clear();
  check_ = nullptr;
  program_ = &program;
  main_.start(
      [](void* self) {
        auto& explorer = *static_cast<Explorer*>(self);
        (*explorer.program_)(explorer);
        explorer.main_.pause();
        if (explorer.check_) explorer.check_();
        while (true) explorer.main_.pause();
      },
      this);
  main_.resume();
  if (!violation_.empty()) return;
  memory.tick(0);
  for (unsigned t = 1; t <= count_; ++t) {
    memory.threads[t].known = memory.threads[0].known;
    memory.threads[t].history = mix(0, t);
    step(t);  // to its first point
  }
  schedule();
}

void Explorer::schedule() {
  while (violation_.empty()) {
    if (cursor_ == choices_.size() && !tracing_ && seen_before()) return;
    std::array<unsigned, kMaxThreads> ready{};
    unsigned n = 0;
    if (last_ != 0 && runnable(threads_[last_ - 1])) ready[n++] = last_;
    const bool may_go_on = n != 0;
    if (!may_go_on || options_.preemptions < 0 || preempted_ < options_.preemptions) {
      for (unsigned t = 1; t <= count_; ++t)
        if (t != last_ && runnable(threads_[t - 1])) ready[n++] = t;
    }
    if (n == 0) return finish();
    const unsigned next = ready[choose(n)];
    if (may_go_on && next != last_) ++preempted_;
    last_ = next;
    step(next);
  }
}

/// Nobody can go on: whoever has not ended is a daemon, or hangs.
void Explorer::finish() {
  running_ = 0;
  for (unsigned t = 1; t <= count_; ++t) {
    const Thread& thread = threads_[t - 1];
    if (!thread.ended && !thread.daemon) {
      violation_ = "hang: " + thread.name + " waits for ever" +
                   (thread.location >= 0 ? " for " + location_name(static_cast<unsigned>(thread.location)) : "");
    }
    memory.threads[0].known.join(memory.threads[t].known);
    memory.threads[0].known.clock[t] = memory.threads[t].now;
  }
  if (violation_.empty()) main_.resume();
}

void Explorer::step(unsigned thread) {
  Thread& t = threads_[thread - 1];
  running_ = thread;
  t.object = nullptr;
  t.location = -1;
  t.fiber.resume();
  running_ = 0;
}

bool Explorer::runnable(const Thread& thread) const {
  if (thread.ended) return false;
  if (thread.object != nullptr) return thread.object->ready(static_cast<unsigned>(&thread - threads_.data()) + 1);
  if (thread.location >= 0) return memory.newest(static_cast<unsigned>(thread.location)) > thread.index;
  return true;
}

bool Explorer::seen_before() {
  std::uint64_t hash = forked_ ? 3 : 1;
  for (unsigned t = 1; t <= count_; ++t)
    hash = mix(mix(hash, memory.threads[t].history), threads_[t - 1].ended ? 1 : 2);
  for (unsigned l = 0; l < memory.count; ++l)
    hash = mix(mix(hash, memory.locations[l].hash), memory.locations[l].sc_floor);
  for (const Object* object : objects_) hash = mix(hash, object->hash());
  if (options_.preemptions >= 0) hash = mix(mix(hash, last_), static_cast<std::uint64_t>(preempted_));
  return !visited_.insert(hash).second;
}

unsigned Explorer::choose(unsigned alternatives) {
  if (alternatives == 1) return 0;
  if (cursor_ == choices_.size()) choices_.push_back({0, static_cast<std::uint16_t>(alternatives)});
  return choices_[cursor_++].taken;
}

/// The next leaf of the tree of choices; false when there is none.
bool Explorer::next_choices() {
  while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().count) choices_.pop_back();
  if (choices_.empty()) return false;
  ++choices_.back().taken;
  return true;
}

void Explorer::thread(const char* name, std::function<void()> body, bool daemon) {
  if (count_ == kMaxThreads - 1) std::abort();
  Thread& t = threads_[count_++];
  t.name = name;
  t.body = std::move(body);
  t.daemon = daemon;
  t.ended = false;
  t.object = nullptr;
  t.location = -1;
  t.fiber.start(&run_thread, &t);
}

void Explorer::run_thread(void* thread) {
  auto& t = *static_cast<Thread*>(thread);
  t.body();
  t.ended = true;
  current().memory.note(current().running_, 77);
  while (true) t.fiber.pause();
}

void Explorer::fail(const std::string& why) {
  violation_ = why;
  Fiber& fiber = running_ == 0 ? main_ : threads_[running_ - 1].fiber;
  while (true) fiber.pause();
}

void Explorer::fork() {
  point();
  forked_ = true;
  say([] { return "fork(): goes on as the child"; });
  Knowledge& known = memory.threads[running_].known;
  for (unsigned t = 1; t <= count_; ++t) {
    threads_[t - 1].ended |= t != running_;
    known.join(memory.threads[t].known);
    known.clock[t] = memory.threads[t].now;
  }
}

void Explorer::point() {
  if (running_ == 0) return;
  threads_[running_ - 1].fiber.pause();
}

void Explorer::wait_for(const Object& object) {
  threads_[running_ - 1].object = &object;
  point();
}

void Explorer::wait_for_newer(unsigned location, unsigned index) {
  threads_[running_ - 1].location = static_cast<int>(location);
  threads_[running_ - 1].index = index;
  memory.note(running_, mix(location, 99));
  point();
  memory.threads[running_].known.floor[location] = static_cast<std::uint8_t>(index + 1);
}

std::string Explorer::location_name(unsigned location) const {
  const char* name = memory.locations[location].name;
  return name != nullptr ? name : "#" + std::to_string(location);
}

}  // namespace offloop::model
