// Sanitizer settings for test programs that fork, or end with work running. To be included by the one source of a
// program.
#pragma once

#if defined(__SANITIZE_THREAD__)
// It would sleep for a second at each exit.
extern "C" [[gnu::used]] const char* __tsan_default_options() {
  return "atexit_sleep_ms=0";
}
#elif defined(__SANITIZE_ADDRESS__)
// A process that ends with work running, or whose threads were left behind in the parent, leaks by design.
extern "C" [[gnu::used]] const char* __asan_default_options() {
  return "detect_leaks=0";
}
#endif
