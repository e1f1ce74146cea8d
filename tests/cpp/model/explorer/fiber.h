// A stack of its own for each thread of a model, switched by hand: the scheduler alone decides who runs.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <memory>

namespace offloop::model {

class Fiber {
 public:
  Fiber() : stack_(std::make_unique<std::byte[]>(kStackBytes)) {}
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// From now on resume() runs fn(argument), which must never return. What ran here before is abandoned where it stood.
  void start(void (*fn)(void*), void* argument) {
    fn_ = fn;
    argument_ = argument;
    fresh_ = true;
  }

  /// Runs it until it calls pause(). [scheduler]
  [[gnu::noinline]] void resume() {
    if (_setjmp(scheduler_) != 0) return;
    if (!fresh_) _longjmp(self_, 1);
    fresh_ = false;
    ::getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get();
    context_.uc_stack.ss_size = kStackBytes;
    context_.uc_link = nullptr;
    current_ = this;
    ::makecontext(&context_, &Fiber::enter, 0);
    ::setcontext(&context_);
  }

  /// Back to the scheduler. [the fiber itself]
  [[gnu::noinline]] void pause() {
    if (_setjmp(self_) == 0) _longjmp(scheduler_, 1);
  }

 private:
  static constexpr std::size_t kStackBytes = 64 * 1024;

  static void enter() { current_->fn_(current_->argument_); }

  static inline Fiber* current_ = nullptr;

  std::unique_ptr<std::byte[]> stack_;
  ucontext_t context_{};
  jmp_buf scheduler_{};
  jmp_buf self_{};
  void (*fn_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool fresh_ = false;
};

}  // namespace offloop::model
