// What isolate=True costs: the same picture through process() here and in a decoder process, in turn.
//
//   isolate/<width>x<height>/<threads>   a JPEG of that size, halved and halved again, on so many threads at once
//
// "here_us" and "there_us" are medians of the wall time of a picture, "percent" how much more there is; "cpu_percent"
// the same of CPU time, with the decoder's start, where one thread makes it known. "start_us" is a new decoder process,
// from nothing to its first picture's result; every 256th picture pays it.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "image/encoder.h"
#include "image/isolate/decoder_set.h"
#include "offloop/image/process.h"

namespace {

using namespace offloop;
using namespace offloop::image;
using Clock = std::chrono::steady_clock;

isolate::Options options() {
  isolate::Options options;
  options.program = OFFLOOP_DECODER_BUILT;
  return options;
}

Bytes jpeg(int width, int height) {
  Pixels pixels;
  pixels.width = width;
  pixels.height = height;
  pixels.planes.emplace_back(width, height, channels_of(pixels.model));
  std::uint32_t noise = 1;
  for (int y = 0; y < height; ++y) {
    std::uint8_t* row = pixels.planes[0].row(y);
    for (int x = 0; x < width * 3; ++x) {
      noise ^= noise << 13, noise ^= noise >> 17, noise ^= noise << 5;
      row[x] = static_cast<std::uint8_t>((x / 3 + 2 * y) / 8 + static_cast<int>(noise % 24));
    }
  }
  return encode_jpeg(pixels, {}, {}, {}).value();
}

Recipe quarter(int width) {
  Recipe recipe;
  recipe.engine = Engine::kFast;
  recipe.steps = {Resize{static_cast<std::uint32_t>(width / 4), 0}};
  return recipe;
}

double us(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

template <class F>
double timed(F function) {
  const auto before = Clock::now();
  function();
  return us(Clock::now() - before);
}

double cpu_us(clockid_t clock) {
  timespec used{};
  ::clock_gettime(clock, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

/// Of the children that were waited for.
double children_cpu_us() {
  rusage used{};
  ::getrusage(RUSAGE_CHILDREN, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

void here_and_there(benchmark::State& state, int width, int height) {
  const Bytes file = jpeg(width, height);
  const Recipe recipe = quarter(width);
  auto set = std::make_unique<isolate::DecoderSet>(options());
  if (process(file, recipe).value().data != set->process(file, recipe, {}).value().data)
    return state.SkipWithError("the two are not the same");
  set = std::make_unique<isolate::DecoderSet>(options());
  std::vector<double> here;
  std::vector<double> there;
  double cpu_here = 0;
  double cpu_there = -children_cpu_us();
  for (auto _ : state) {
    const double before = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    here.push_back(timed([&] { benchmark::DoNotOptimize(process(file, recipe)); }));
    const double between = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    there.push_back(timed([&] { benchmark::DoNotOptimize(set->process(file, recipe, {})); }));
    cpu_here += between - before;
    cpu_there += cpu_us(CLOCK_THREAD_CPUTIME_ID) - between;
  }
  set.reset();
  cpu_there += children_cpu_us();
  const auto average = benchmark::Counter::kAvgThreads;
  state.counters["here_us"] = benchmark::Counter(median(here), average);
  state.counters["there_us"] = benchmark::Counter(median(there), average);
  state.counters["percent"] = benchmark::Counter(100 * (median(there) / median(here) - 1), average);
  if (state.threads() == 1) {
    state.counters["cpu_here_us"] = cpu_here / static_cast<double>(here.size());
    state.counters["cpu_percent"] = 100 * (cpu_there / cpu_here - 1);
  }
}

void start(benchmark::State& state) {
  const Bytes file = jpeg(16, 16);
  std::vector<double> all;
  for (auto _ : state) {
    all.push_back(timed([&] {
      isolate::DecoderSet set(options());
      benchmark::DoNotOptimize(set.process(file, {}, {}));
    }));
  }
  state.counters["start_us"] = median(all);
}

const int kRegistered = [] {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  for (const auto& [width, height] : {std::pair{800, 600}, std::pair{1600, 1200}, std::pair{2725, 2225}}) {
    for (const unsigned threads : {1U, cores}) {
      const std::string name = "isolate/" + std::to_string(width) + "x" + std::to_string(height);
      benchmark::RegisterBenchmark(name.c_str(), here_and_there, width, height)
          ->Threads(static_cast<int>(threads))
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond)
          ->MinTime(3);
    }
  }
  benchmark::RegisterBenchmark("start", start)->UseRealTime()->Unit(benchmark::kMicrosecond);
  return 0;
}();

}  // namespace
