// Runs a small concurrent program in every way that its threads can interleave and its loads can be answered.
//
// A program is a function that builds shared state from the types of model_atomics.h and names the bodies of its
// threads. It is run again and again, each time with the next set of choices (depth first). A choice is which thread
// makes the next step (one atomic operation, lock or system call), and which of the values that memory allows a load
// returns.
//
// The search is exhaustive. What keeps it small: a state that has been seen is not searched again. Where a thread
// stands is a function of what it has read, so a state is the threads' histories and the memory's contents, hashed (64
// bits: with the 10^6 states that are met here a collision has a probability of about 10^-7); two orders of independent
// steps lead to the same state, which is the reduction that DPOR is after. Waiting loops make no endless executions:
// yield() means that the next look must find something newer (which is what a real loop sees in the end).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "model/explorer/fiber.h"
#include "model/explorer/memory.h"

namespace offloop::model {

struct Options {
  /// How often a thread may be interrupted that could have gone on; negative: no bound.
  int preemptions = -1;
  std::uint64_t max_states = 8'000'000;
};

struct Outcome {
  bool complete = false;  ///< every execution within the bound was seen
  std::string violation;  ///< empty: none
  std::vector<std::string> trace;
  std::uint64_t executions = 0;
  std::uint64_t states = 0;
  [[nodiscard]] std::string text() const;
};

/// Something of the kernel or of a lock that a thread can wait for.
class Object {
 public:
  Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  [[nodiscard]] virtual bool ready(unsigned thread) const = 0;
  [[nodiscard]] virtual std::uint64_t hash() const = 0;

 protected:
  ~Object() = default;
};

class Explorer {
 public:
  /// The program's threads; whatever they refer to must live as long as the object that `program` returns.
  using Program = std::function<void(Explorer&)>;

  static Outcome explore(const Program& program, const Options& options = {});
  static Explorer& current() { return *current_; }

  // For a program, while it is set up.
  /// A thread. One that is a daemon may wait for ever when everybody else has ended.
  void thread(const char* name, std::function<void()> body, bool daemon = false);
  /// Looks at the end, when all have ended or wait; sees everything.
  void at_end(std::function<void()> check) { check_ = std::move(check); }

  // For a thread.
  [[noreturn]] void fail(const std::string& why);
  void require(bool holds, const char* what) {
    if (!holds) fail(what);
  }
  /// The calling thread goes on as the child of a fork: memory as it is, the others do not exist.
  void fork();
  [[nodiscard]] bool forked() const { return forked_; }

  // For model_atomics.h.
  Memory memory;
  [[nodiscard]] unsigned self() const { return running_; }
  void point();                         ///< another thread may go first
  void wait_for(const Object& object);  ///< a point that is passed when the object is ready
  void wait_for_newer(unsigned location, unsigned index);
  unsigned choose(unsigned alternatives);  ///< 0 .. alternatives - 1
  void add_object(const Object* object) { objects_.push_back(object); }
  template <class F>
  void say(F text) {  ///< a line of the trace, made only when there is one
    if (tracing_) trace_.push_back(name_of(running_) + ": " + text());
  }
  [[nodiscard]] std::string location_name(unsigned location) const;

 private:
  struct Thread {
    std::string name;
    std::function<void()> body;
    bool daemon = false;
    bool ended = false;
    const Object* object = nullptr;  ///< waited for
    int location = -1;               ///< waited for
    unsigned index = 0;
    Fiber fiber;
  };
  struct Choice {
    std::uint16_t taken;
    std::uint16_t count;
  };

  explicit Explorer(const Options& options) : options_(options) {}
  void execute(const Program& program);
  void schedule();
  void finish();
  void step(unsigned thread);
  [[nodiscard]] bool runnable(const Thread& thread) const;
  [[nodiscard]] bool seen_before();
  [[nodiscard]] std::string name_of(unsigned thread) const { return thread == 0 ? "main" : threads_[thread - 1].name; }
  bool next_choices();
  static void run_thread(void* thread);

  static inline Explorer* current_ = nullptr;

  const Options options_;
  std::vector<Choice> choices_;
  std::size_t cursor_ = 0;
  std::unordered_set<std::uint64_t> visited_;
  std::array<Thread, kMaxThreads - 1> threads_;
  unsigned count_ = 0;
  unsigned running_ = 0;  ///< 0: main
  unsigned last_ = 0;
  int preempted_ = 0;
  bool forked_ = false;
  bool tracing_ = false;
  std::function<void()> check_;
  std::vector<const Object*> objects_;
  std::string violation_;
  std::vector<std::string> trace_;
  Fiber main_;  ///< set-up and the last check: fail() must be able to leave them
  const Program* program_ = nullptr;
};

inline Object::Object() {
  Explorer::current().add_object(this);
}

}  // namespace offloop::model
