// offloop-native-bench-image memory FILE WIDTH                   the native contender of `offloop bench`, resizing
// offloop-native-bench-image fetch FILE MAX_CONCURRENT WIDTH     the same, fetching, resizing and hashing
//
// A memory FILE holds pictures, a fetch FILE URLs, as bench_rounds.h says. They become JPEG of quality 80 and of that
// width. An answer is the picture in hexadecimal; of fetch: the digest of the body, that of the result, the picture.
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <utility>

#include "bench_rounds.h"
#include "offloop/pipeline/image.h"

namespace {

using namespace bench;
using offloop::Result;
using offloop::pipeline::Picture;
using offloop::pipeline::PictureRequest;

constexpr const char* kProgram = "offloop-native-bench-image";

PictureRequest request_of(std::size_t width, bool hash) {
  PictureRequest request;
  offloop::image::Resize resize;
  resize.width = static_cast<std::uint32_t>(width);
  request.recipe.steps.emplace_back(resize);
  request.recipe.output.format = offloop::image::Format::kJpeg;
  request.recipe.output.keep_profile = true;
  request.hash = hash;
  return request;
}

/// What a burst gave, before it is written down: that is not part of the work.
using Pictures = std::vector<std::optional<Result<Picture>>>;

std::string answer_of(const Result<Picture>& result) {
  if (!result.ok()) return result.error().message;
  const Picture& picture = result.value();
  const std::string data = offloop::to_hex({picture.image.data.data(), picture.image.data.size()});
  if (!picture.digest.has_value() || !picture.input_digest.has_value()) return data;
  return picture.input_digest->hex() + " " + picture.digest->hex() + " " + data;
}

class MemoryWork {
 public:
  explicit MemoryWork(std::size_t width) : request_(request_of(width, false)) {}
  bool read(const char* path) { return read_payloads(path, payloads_); }
  [[nodiscard]] std::size_t size() const { return payloads_.size(); }

  /// All pictures at once, as the TaskGroup of the other variants.
  void run(Pictures& pictures, std::vector<std::int64_t>& latencies_ns) const {
    Countdown left(payloads_.size());
    const auto start = Clock::now();
    for (std::size_t i = 0; i < payloads_.size(); ++i) {
      offloop::pipeline::process_picture(payloads_[i], request_).then([&, i](Result<Picture>& picture) noexcept {
        pictures[i] = std::move(picture);
        latencies_ns[i] = ns_since(start);
        left.one_ended();
      });
    }
    left.wait();
  }

 private:
  PictureRequest request_;
  std::vector<std::vector<std::uint8_t>> payloads_;
};

class FetchWork {
 public:
  FetchWork(std::size_t max_concurrent, std::size_t width)
      : max_concurrent_(max_concurrent), request_(request_of(width, true)) {}

  bool read(const char* path) {
    offloop::fetch::FetcherOptions options;
    options.timeout = kTimeoutSeconds;
    options.decompress = false;
    options.max_concurrent = static_cast<unsigned>(max_concurrent_);
    if (options.max_concurrent != max_concurrent_) return false;
    auto made = offloop::fetch::Fetcher::create(options);
    if (!made.ok()) return false;
    fetcher_ = std::move(made.value());
    return read_urls(path, urls_);
  }
  [[nodiscard]] std::size_t size() const { return urls_.size(); }

  /// At most max_concurrent at a time; an item is due when its turn comes.
  void run(Pictures& pictures, std::vector<std::int64_t>& latencies_ns) const {
    std::counting_semaphore<> free(static_cast<std::ptrdiff_t>(max_concurrent_));
    Countdown left(urls_.size());
    for (std::size_t i = 0; i < urls_.size(); ++i) {
      free.acquire();
      const auto due = Clock::now();
      offloop::fetch::Request url;
      url.url = urls_[i];
      Job::start(*fetcher_, std::move(url), request_, [&, i, due](Result<Picture> picture) noexcept {
        pictures[i] = std::move(picture);
        latencies_ns[i] = ns_since(due);
        free.release();
        left.one_ended();
      });
    }
    left.wait();
  }

 private:
  /// Lives until it has told.
  class Job final : public offloop::pipeline::PictureJob {
   public:
    using Tell = std::function<void(Result<Picture>)>;
    static void start(offloop::fetch::Fetcher& fetcher, offloop::fetch::Request url, const PictureRequest& request,
                      Tell tell) {
      auto* job = new Job(request, std::move(tell));
      Result<offloop::Unit> started = job->start_url(fetcher, std::move(url));
      if (!started.ok()) job->ended(std::move(started).error());
    }

   private:
    Job(PictureRequest request, Tell tell) : PictureJob(std::move(request)), tell_(std::move(tell)) {}
    void ended(Result<Picture> picture) noexcept override {
      const Tell tell = std::move(tell_);
      delete this;
      tell(std::move(picture));
    }
    Tell tell_;
  };

  std::size_t max_concurrent_;
  PictureRequest request_;
  std::vector<std::string> urls_;
  std::unique_ptr<offloop::fetch::Fetcher> fetcher_;
};

template <typename Work>
bool round_of(const Work& work, std::size_t n, bool probed) {
  std::vector<Pictures> pictures(n, Pictures(work.size()));
  std::vector<Burst> bursts(n, Burst(work.size()));
  const auto start = Clock::now();
  for (std::size_t b = 0; b < n; ++b) work.run(pictures[b], bursts[b].latencies_ns);
  const double seconds = static_cast<double>(ns_since(start)) / 1e9;
  for (std::size_t b = 0; b < n; ++b) {
    for (std::size_t i = 0; i < work.size(); ++i) bursts[b].answers[i] = answer_of(*pictures[b][i]);
  }
  return print(seconds, bursts, probed);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  std::size_t max_concurrent = 0;
  std::size_t width = 0;
  if (what == "memory" && argc == 4 && parse(argv[3], width)) {
    MemoryWork work(width);
    return work.read(argv[2]) ? serve(work, kProgram) : unreadable(argv[2], kProgram);
  }
  if (what == "fetch" && argc == 5 && parse(argv[3], max_concurrent) && parse(argv[4], width)) {
    FetchWork work(max_concurrent, width);
    return work.read(argv[2]) ? serve(work, kProgram) : unreadable(argv[2], kProgram);
  }
  std::fputs(
      "usage: offloop-native-bench-image memory FILE WIDTH\n"
      "       offloop-native-bench-image fetch FILE MAX_CONCURRENT WIDTH\n",
      stderr);
  return kExitUsage;
}
