// What the native contenders of `offloop bench` share: rounds asked for on standard input, answered in JSON on standard
// output.
//
// Each line "time N" or "probe N" is one round of N bursts; answered by one line: the seconds of all bursts, the
// answers of each burst in order, and in a probed round what every item took. A program reads its input before the
// clock starts and stays between rounds, so that neither start-up nor reading counts.
#pragma once

#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInputUnreadable = 3;
inline constexpr int kExitOutputFailed = 4;
inline constexpr double kTimeoutSeconds = 120;

inline std::int64_t ns_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

/// Waits until n items have ended; may be destroyed as soon as wait() has returned (a std::latch may not).
class Countdown {
 public:
  explicit Countdown(std::size_t n) : left_(n) {}
  void one_ended() noexcept {
    const std::lock_guard lock(mutex_);
    if (--left_ == 0) all_ended_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable all_ended_;
  std::size_t left_;
};

/// What a burst gave; an item that failed has an error instead of an answer.
struct Burst {
  explicit Burst(std::size_t n) : answers(n), latencies_ns(n) {}
  std::vector<std::string> answers;
  std::vector<std::int64_t> latencies_ns;
};

inline void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  out += '"';
}

/// False when standard output could not be written.
inline bool print(double seconds, const std::vector<Burst>& bursts, bool probed) {
  std::string out = "{\"seconds\": " + std::to_string(seconds) + ", \"bursts\": [";
  for (const Burst& burst : bursts) {
    out += &burst == bursts.data() ? "[" : ", [";
    for (const std::string& answer : burst.answers) {
      if (&answer != burst.answers.data()) out += ", ";
      append_quoted(out, answer);
    }
    out += "]";
  }
  out += "], \"latencies_ns\": [";
  const char* comma = "";
  for (const Burst& burst : bursts) {
    if (!probed) break;
    for (const std::int64_t latency_ns : burst.latencies_ns) out += comma + std::to_string(latency_ns), comma = ", ";
  }
  out += "]}\n";
  std::fputs(out.c_str(), stdout);
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

/// A number of things: above 0.
inline bool parse(std::string_view text, std::size_t& value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && rest == text.data() + text.size() && value > 0;
}

/// Answers standard input until it ends, each line by round_of(work, bursts, probed); returns the exit code.
template <typename Work>
int serve(const Work& work, const char* program) {
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t space = line.find(' ');
    const std::string_view what = std::string_view(line).substr(0, space);
    std::size_t bursts = 0;
    const bool known = what == "time" || what == "probe";
    if (!known || space == std::string::npos || !parse(std::string_view(line).substr(space + 1), bursts)) {
      std::fprintf(stderr, "%s: expected \"time N\" or \"probe N\", got \"%s\"\n", program, line.c_str());
      return kExitUsage;
    }
    if (!round_of(work, bursts, what == "probe")) return kExitOutputFailed;
  }
  return kExitOk;
}

inline int unreadable(const char* path, const char* program) {
  std::fprintf(stderr, "%s: %s: nothing to work on could be read\n", program, path);
  return kExitInputUnreadable;
}

/// The payloads of a file: 8 bytes of size, little-endian, then the bytes, again and again. False when it holds none or
/// is cut off.
inline bool read_payloads(const char* path, std::vector<std::vector<std::uint8_t>>& payloads) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  auto left = file ? static_cast<std::uint64_t>(file.tellg()) : 0;
  file.seekg(0);
  std::uint8_t head[8];
  while (left >= sizeof head && file.read(reinterpret_cast<char*>(head), sizeof head)) {
    left -= sizeof head;
    std::uint64_t size = 0;
    for (int i = 7; i >= 0; --i) size = size << 8 | head[i];
    if (size > left) return false;
    auto& payload = payloads.emplace_back(size);
    if (!file.read(reinterpret_cast<char*>(payload.data()), static_cast<std::streamsize>(size))) return false;
    left -= size;
  }
  return left == 0 && !payloads.empty();
}

/// The URLs of a file, one a line. False when it holds none.
inline bool read_urls(const char* path, std::vector<std::string>& urls) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) urls.push_back(line);
  }
  return !urls.empty();
}

}  // namespace bench
