// offloop-native-fetch [--max-concurrent N] [--timeout SECONDS] URL... | -     fetches and hashes, in sha256sum's
// format
//
// The native variant of `offloop fetch`: the same core, no Python in front. "-" reads URLs from standard input, one a
// line.
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "offloop/pipeline/fetch_hash.h"

namespace {

constexpr int kExitOk = 0;
constexpr int kExitSomeFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitOutputFailed = 4;

int usage() {
  std::fputs("usage: offloop-native-fetch [--max-concurrent N] [--timeout SECONDS] URL... | -\n", stderr);
  return kExitUsage;
}

/// What all downloads of a run share. Results come from I/O threads and workers.
class Run {
 public:
  Run(offloop::pipeline::HashingFetcher& fetcher, std::vector<std::string> urls)
      : fetcher_(fetcher), urls_(std::move(urls)), lines_(urls_.size()) {}

  /// Fetches everything; the fetcher's max_concurrent bounds what is in flight. True when all went well.
  bool fetch_all() {
    for (std::size_t i = 0; i < urls_.size(); ++i) {
      fetcher_.fetch_and_hash(urls_[i]).then(
          [this, i](offloop::Result<offloop::pipeline::HashedBody>& body) noexcept { ended(i, body); });
    }
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return ended_ == urls_.size(); });
    return failed_ == 0;
  }

  /// False when standard output could not be written.
  bool print(double seconds) const {
    for (const std::string& line : lines_) std::fputs(line.c_str(), stdout);
    std::fprintf(stderr, "%zu URLs, %zu failed, %.1f MB in %.2f s: %.0f URLs/s, %.1f MB/s\n", urls_.size(), failed_,
                 static_cast<double>(bytes_) / 1e6, seconds, static_cast<double>(urls_.size()) / seconds,
                 static_cast<double>(bytes_) / 1e6 / seconds);
    return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  }

 private:
  void ended(std::size_t i, const offloop::Result<offloop::pipeline::HashedBody>& body) noexcept {
    std::string line;
    if (body.ok()) {
      line = body.value().digest.hex() + "  " + urls_[i] + "\n";
    } else {
      std::fprintf(stderr, "offloop-native-fetch: %s: %s\n", urls_[i].c_str(), body.error().message.c_str());
    }
    const std::lock_guard lock(mutex_);
    lines_[i] = std::move(line);
    if (body.ok()) {
      bytes_ += body.value().info.body_bytes;
    } else {
      ++failed_;
    }
    if (++ended_ == urls_.size()) all_ended_.notify_one();
  }

  offloop::pipeline::HashingFetcher& fetcher_;
  const std::vector<std::string> urls_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable all_ended_;
  std::vector<std::string> lines_;
  std::size_t ended_ = 0;
  std::size_t failed_ = 0;
  std::uint64_t bytes_ = 0;
};

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && rest == text.data() + text.size();
}

bool parse_arguments(int argc, char** argv, offloop::fetch::FetcherOptions& options, std::vector<std::string>& urls) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--max-concurrent" && i + 1 < argc) {
      if (!parse(argv[++i], options.max_concurrent)) return false;
    } else if (argument == "--timeout" && i + 1 < argc) {
      if (!parse(argv[++i], options.timeout)) return false;
    } else if (argument == "-") {
      for (std::string line; std::getline(std::cin, line);) {
        if (!line.empty()) urls.push_back(line);
      }
    } else if (argument.starts_with("-")) {
      return false;
    } else {
      urls.push_back(argument);
    }
  }
  return !urls.empty();
}

}  // namespace

int main(int argc, char** argv) {
  offloop::fetch::FetcherOptions options;
  options.timeout = 60;
  std::vector<std::string> urls;
  if (!parse_arguments(argc, argv, options, urls)) return usage();
  auto fetcher = offloop::pipeline::HashingFetcher::create(options);
  if (!fetcher.ok()) {
    std::fprintf(stderr, "offloop-native-fetch: %s\n", fetcher.error().message.c_str());
    return kExitUsage;
  }
  Run run(*fetcher.value(), std::move(urls));
  const auto start = std::chrono::steady_clock::now();
  const bool all_ok = run.fetch_all();
  if (!run.print(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count())) {
    std::perror("offloop-native-fetch: cannot write the output");
    return kExitOutputFailed;
  }
  return all_ok ? kExitOk : kExitSomeFailed;
}
