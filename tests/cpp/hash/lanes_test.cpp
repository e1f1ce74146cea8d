// Many streams side by side: right digests whatever runs beside what, and nobody waits for company or hoards.
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "hash/dispatch.h"
#include "offloop/hash/stream.h"
#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/test_pool.h"

namespace offloop::hash {
namespace {

using offloop::testing::BusyWorkers;
using offloop::testing::Bytes;
using offloop::testing::comes_true;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::pool_comes_to_rest;
using offloop::testing::resize_pool;
using offloop::testing::StreamSink;
using runtime::Outcome;
using runtime::Pool;

constexpr std::size_t kQuantumBytes = 64 * 1024;

/// Parts of one text, as messages with OpenSSL's answers.
class Messages {
 public:
  explicit Messages(const std::vector<std::size_t>& sizes, std::size_t apart = 61) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      spans_.emplace_back(text().data() + i * apart % 4096, sizes[i]);  // 61: addresses of every remainder
      answers_.push_back(openssl_hex(spans_[i]));
    }
  }
  [[nodiscard]] std::size_t size() const { return spans_.size(); }
  [[nodiscard]] ByteSpan operator[](std::size_t i) const { return spans_[i]; }
  [[nodiscard]] const std::string& answer(std::size_t i) const { return answers_[i]; }

  static const Bytes& text() {
    static const Bytes* const bytes = new Bytes(noise_bytes((1 << 20) + 8192, 99));
    return *bytes;
  }

 private:
  std::vector<ByteSpan> spans_;
  std::vector<std::string> answers_;
};

/// 0 to 1 MB: most are short, and every magnitude is there.
const Messages& mixed() {
  static const Messages* const made = [] {
    std::mt19937_64 random(7);
    std::vector<std::size_t> sizes = {0, 0, 1, 1 << 20};
    while (sizes.size() < 120) sizes.push_back(static_cast<std::size_t>(random() % (1ULL << (random() % 21))));
    return new Messages(sizes);
  }();
  return *made;
}

/// Every case of the padding, alone and at the edges of quanta.
const Messages& edges() {
  static const Messages* const made = [] {
    std::vector<std::size_t> sizes;
    for (const std::size_t base : {std::size_t{0}, kQuantumBytes - 64, kQuantumBytes, 2 * kQuantumBytes}) {
      for (const std::size_t more : {0U, 1U, 54U, 55U, 56U, 57U, 62U, 63U, 64U, 65U, 119U, 120U, 127U, 128U})
        sizes.push_back(base + more);
      if (base != 0) sizes.push_back(base - 1);
    }
    return new Messages(sizes);
  }();
  return *made;
}

/// Large ones that start at the same place: those in one lane set are moved apart (lane_spread.h).
const Messages& large() {
  static const Messages* const made = [] {
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < 3 * kMaxLanes; ++i) sizes.push_back(3 * kQuantumBytes + i % 5 * 61);
    sizes.insert(sizes.end(), {100, 2 * kQuantumBytes - 1, 2 * kQuantumBytes, 2 * kQuantumBytes + 64});
    return new Messages(sizes, 0);
  }();
  return *made;
}

/// Submits all from `threads` threads at once and compares.
void hash_all(const Messages& messages, unsigned threads, runtime::Group& group = sha256_group()) {
  std::deque<Sha256Work> works(messages.size());
  StreamSink sink;
  std::vector<std::thread> submitters;
  for (unsigned t = 0; t < threads; ++t) {
    submitters.emplace_back([&, t] {
      for (std::size_t i = t; i < works.size(); i += threads) {
        works[i].set_message(messages[i], group);
        works[i].sink = &sink;
        ASSERT_TRUE(Pool::instance()->submit(&works[i]));
      }
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
  ASSERT_TRUE(sink.wait_for(works.size()));
  for (std::size_t i = 0; i < works.size(); ++i) {
    ASSERT_EQ(works[i].outcome, Outcome::kValue) << i;
    ASSERT_EQ(works[i].digest.hex(), messages.answer(i)) << messages[i].size() << " bytes";
  }
}

class EveryKernel : public ::testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    if (GetParam() == kKernelCount) return;  // the plan of this CPU
    const auto kernel = static_cast<Kernel>(GetParam());
    if (kernel_info(kernel).run == nullptr || !kernel_supported(kernel, cpu_choice().cpu))
      GTEST_SKIP() << "not on this CPU";
    ASSERT_TRUE(pool_comes_to_rest());
    scoped_.emplace(kernel);
  }
  void TearDown() override { ASSERT_TRUE(pool_comes_to_rest()); }

 private:
  std::optional<ScopedPlan> scoped_;
};

TEST_P(EveryKernel, HashesAMixFromSeveralThreadsOnOneTwoAndFourWorkers) {
  for (const unsigned workers : {1U, 2U, 4U}) {
    ASSERT_TRUE(resize_pool(workers));
    hash_all(mixed(), 4);
  }
}

TEST_P(EveryKernel, HashesEveryCaseOfThePaddingBesideAllOthers) {
  ASSERT_TRUE(resize_pool(2));
  hash_all(edges(), 1);
  hash_all(edges(), 3);
}

TEST_P(EveryKernel, HashesLargeMessagesThatStartAtTheSamePlace) {
  for (const unsigned workers : {1U, 2U}) {
    ASSERT_TRUE(resize_pool(workers));
    hash_all(large(), 2);
  }
}

std::string plan_name(const ::testing::TestParamInfo<unsigned>& info) {
  if (info.param == kKernelCount) return "Auto";
  std::string name;
  for (const char* c = kernel_info(static_cast<Kernel>(info.param)).name; *c != '\0'; ++c) {
    if (*c != ' ' && *c != '-') name += *c;
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Plans, EveryKernel, ::testing::Range(0U, kKernelCount + 1), plan_name);

/// In how many steps sixteen equal messages at the same place end that one worker has taken together.
std::size_t steps_of_the_ends(std::size_t bytes, Kernel kernel) {
  EXPECT_TRUE(pool_comes_to_rest());
  const ScopedPlan plan(kernel);
  const Messages messages(std::vector<std::size_t>(kMaxLanes, bytes), 0);
  std::deque<Sha256Work> works(messages.size());
  StreamSink sink;
  {
    const BusyWorkers busy;
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].set_message(messages[i], sha256_group());
      works[i].sink = &sink;
      EXPECT_TRUE(Pool::instance()->submit(&works[i]));
    }
  }
  EXPECT_TRUE(sink.wait_for(works.size()));
  for (std::size_t i = 0; i < works.size(); ++i) EXPECT_EQ(works[i].digest.hex(), messages.answer(i));
  EXPECT_TRUE(pool_comes_to_rest());
  return sink.batches();
}

TEST(Lanes, LargeStreamsAtTheSamePlaceAreReadApartWhereOneKernelReadsAllInStep) {
  ASSERT_TRUE(resize_pool(1));
  if (!kernel_supported(Kernel::kAvx512x16, cpu_choice().cpu)) GTEST_SKIP() << "no kernel reads so many";
  EXPECT_EQ(steps_of_the_ends(3 * kQuantumBytes, Kernel::kAvx512x16), kMaxLanes) << "each a block later than another";
  EXPECT_EQ(steps_of_the_ends(kQuantumBytes, Kernel::kAvx512x16), 1U) << "too short to be worth it";
  EXPECT_EQ(steps_of_the_ends(3 * kQuantumBytes, Kernel::kAvx512x8), 1U) << "eight find room";
}

TEST(Lanes, APaddedEndOfTwoBlocksMayBeCutByTheQuantum) {
  ASSERT_TRUE(resize_pool(1));
  const std::size_t full = kQuantumBytes - 64;  // one block of the quantum is left for a tail of two
  for (std::size_t rest = 55; rest < 64; ++rest) {
    const Messages pair({full + rest, full + rest});  // a lone one would not be given back at the end of its quantum
    std::deque<Sha256Work> works(2);
    StreamSink sink;
    BusyWorkers busy;
    const std::uint64_t before = Pool::instance()->stats().quanta;
    for (std::size_t i = 0; i < 2; ++i) {
      works[i].set_message(pair[i], sha256_group());
      works[i].sink = &sink;
      ASSERT_TRUE(Pool::instance()->submit(&works[i]));
    }
    busy.release();
    ASSERT_TRUE(sink.wait_for(2));
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(works[i].digest.hex(), pair.answer(i));
    // What this test is about really happened: the second block of the tails ran in a second quantum.
    EXPECT_EQ(Pool::instance()->stats().quanta - before, rest < 56 ? 1U : 2U) << rest;
  }
}

TEST(Lanes, ALoneStreamIsOneQuantum) {
  ASSERT_TRUE(resize_pool(1));
  const Messages alone({15 * kQuantumBytes + 63});
  ASSERT_TRUE(pool_comes_to_rest());
  const std::uint64_t before = Pool::instance()->stats().quanta;
  hash_all(alone, 1);
  EXPECT_EQ(Pool::instance()->stats().quanta - before, 1U);
}

TEST(Lanes, PaddedEndsAreCutBesideStreamsOfOtherPhases) {
  ASSERT_TRUE(resize_pool(1));
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 16; ++i) sizes.push_back(kQuantumBytes - 64 + 56 + i % 8);
  for (std::size_t i = 0; i < 16; ++i) sizes.push_back(kQuantumBytes * (1 + i % 3) - 64 * i + 60);
  for (std::size_t i = 0; i < 16; ++i) sizes.push_back(64 * i + 56 + i % 8);
  const Messages messages(sizes);
  for (std::size_t round = 0; round < 8; ++round) {
    BusyWorkers busy;  // so that they wait together and are taken sixteen at a time
    std::deque<Sha256Work> works(messages.size());
    StreamSink sink;
    for (std::size_t i = 0; i < works.size(); ++i) {
      Sha256Work& work = works[(i * 7 + round * 5) % works.size()];  // other neighbours each round
      work.set_message(messages[(i * 7 + round * 5) % works.size()], sha256_group());
      work.sink = &sink;
      ASSERT_TRUE(Pool::instance()->submit(&work));
    }
    busy.release();
    ASSERT_TRUE(sink.wait_for(works.size()));
    for (std::size_t i = 0; i < works.size(); ++i) EXPECT_EQ(works[i].digest.hex(), messages.answer(i)) << sizes[i];
  }
}

TEST(Lanes, StoppedWhileQueuedNeverRuns) {
  ASSERT_TRUE(resize_pool(2));
  Bytes message(100'000);
  Sha256Work asked, taken;
  StreamSink sink;
  {
    BusyWorkers busy;
    for (Sha256Work* work : {&asked, &taken}) {
      work->set_message(message, sha256_group());
      work->sink = &sink;
      ASSERT_TRUE(Pool::instance()->submit(work));
    }
    asked.request_stop();
    // Taken back: its input may be freed at once. The address sanitizer would see a read.
    ASSERT_TRUE(taken.try_stop_queued());
    message = Bytes();
    message.shrink_to_fit();
  }
  ASSERT_TRUE(sink.wait_for(2));
  for (const Sha256Work* work : {&asked, &taken}) {
    EXPECT_EQ(work->outcome, Outcome::kStopped);
    EXPECT_EQ(work->started_ns, 0);
    EXPECT_EQ(work->digest.size, 0);
    EXPECT_FALSE(work->begun);
  }
}

/// Streams that never end by themselves, and what their workers do.
class Endless {
 public:
  Endless(std::size_t n, runtime::Group& group, std::size_t span_bytes = kQuantumBytes)
      : span_(Messages::text().data(), span_bytes), works_(n) {
    for (Sha256Work& work : works_) {
      work.reset(group);
      work.set_span(span_, false);
      work.sink = &sink_;
      work.user = this;
      work.next_span = more;
    }
  }
  ~Endless() { end(); }
  Endless(const Endless&) = delete;
  Endless& operator=(const Endless&) = delete;

  void start() {
    for (Sha256Work& work : works_) ASSERT_TRUE(Pool::instance()->submit(&work));
    started_ = true;
  }
  void end() {
    ending_.store(true);
    EXPECT_TRUE(!started_ || sink_.wait_for(works_.size()));
    started_ = false;
  }
  [[nodiscard]] std::size_t workers_seen() {
    const std::lock_guard lock(mutex_);
    return seen_.size();
  }
  [[nodiscard]] std::uint64_t spans() const { return spans_.load(); }
  [[nodiscard]] int most_at_once() const { return most_.load(); }
  Sha256Work& operator[](std::size_t i) { return works_[i]; }
  StreamSink& sink() { return sink_; }

 private:
  static StreamWork::Next more(StreamWork* work) noexcept {
    auto& self = *static_cast<Endless*>(work->user);
    const int inside = self.inside_.fetch_add(1) + 1;
    int most = self.most_.load();
    while (inside > most && !self.most_.compare_exchange_weak(most, inside)) {
    }
    {
      const std::lock_guard lock(self.mutex_);
      self.seen_.insert(::gettid());
    }
    ::sched_yield();  // so that another worker, if there is one, comes here too
    self.inside_.fetch_sub(1);
    self.spans_.fetch_add(1);
    if (self.ending_.load()) return StreamWork::Next::kStop;
    static_cast<Sha256Work*>(work)->set_span(self.span_, false);
    return StreamWork::Next::kMore;
  }

  const ByteSpan span_;
  std::deque<Sha256Work> works_;
  StreamSink sink_;
  bool started_ = false;
  std::atomic<bool> ending_{false};
  std::atomic<int> inside_{0};
  std::atomic<int> most_{0};
  std::atomic<std::uint64_t> spans_{0};
  std::mutex mutex_;
  std::set<pid_t> seen_;
};

TEST(Lanes, StoppedWhileRunningEndsAsStopped) {
  ASSERT_TRUE(resize_pool(1));
  Endless streams(3, sha256_group());
  streams.start();
  ASSERT_TRUE(comes_true([&] { return streams.spans() > 10; }));
  streams[1].request_stop();
  ASSERT_TRUE(streams.sink().wait_for(1));
  EXPECT_EQ(streams[1].outcome, Outcome::kStopped);
  EXPECT_EQ(streams.sink().ended(), 1U) << "the others go on";
  streams.end();
  EXPECT_EQ(streams[0].outcome, Outcome::kStopped) << "kStop of next_span ends as kStopped too";
}

TEST(Lanes, LongStreamsAreSharedByAllWorkers) {
  ASSERT_TRUE(resize_pool(2));
  Endless streams(8, sha256_group());
  streams.start();
  EXPECT_TRUE(comes_true([&] { return streams.workers_seen() == 2; })) << "one worker keeps all the streams";
}

TEST(Lanes, AShortStreamEndsWhileLongOnesFillEveryLane) {
  ASSERT_TRUE(resize_pool(1));
  Endless streams(40, sha256_group());
  streams.start();
  ASSERT_TRUE(comes_true([&] { return streams.spans() > 10; }));
  const Messages few({10, 100'000});
  hash_all(few, 1);
  EXPECT_EQ(streams.sink().ended(), 0U);
}

TEST(Lanes, ALaneThatComesFreeIsFilledInTheSameQuantum) {
  ASSERT_TRUE(resize_pool(1));
  const Messages messages(std::vector<std::size_t>(3 * kMaxLanes, 100));
  std::deque<Sha256Work> works(messages.size());
  StreamSink sink;
  BusyWorkers busy;
  const std::uint64_t before = Pool::instance()->stats().quanta;
  for (std::size_t i = 0; i < works.size(); ++i) {
    works[i].set_message(messages[i], sha256_group());
    works[i].sink = &sink;
    ASSERT_TRUE(Pool::instance()->submit(&works[i]));
  }
  busy.release();
  ASSERT_TRUE(sink.wait_for(works.size()));
  EXPECT_EQ(Pool::instance()->stats().quanta - before, 1U);
}

TEST(Lanes, ALoneStreamEndsBesideABusyWorker) {
  ASSERT_TRUE(resize_pool(2));
  Operation<Unit> task = spawn([](StopToken stop) {
    while (!stop.stop_requested()) ::sched_yield();
  });
  hash_all(Messages({500'000}), 1);
  task.request_stop();
  EXPECT_TRUE(task.get().ok());
}

TEST(Lanes, ALimitOfWorkersHolds) {
  ASSERT_TRUE(resize_pool(4));
  for (const unsigned limit : {1U, 2U, 3U}) {
    runtime::Group& group = sha256_group(limit);
    EXPECT_EQ(group.max_workers, limit);
    Endless streams(32, group, 4096);
    streams.start();
    ASSERT_TRUE(comes_true([&] { return streams.spans() > 4000; }));
    streams.end();
    EXPECT_LE(streams.most_at_once(), static_cast<int>(limit));
    hash_all(mixed(), 2, group);
  }
  EXPECT_TRUE(pool_comes_to_rest());
}

TEST(Lanes, WhoAsksForTheSameLimitSharesAGroup) {
  EXPECT_EQ(&sha256_group(), &sha256_group(0));
  EXPECT_EQ(&sha256_group(), &sha256_group(1'000'000)) << "no limit at all beyond what there can be";
  EXPECT_EQ(&sha256_group(5), &sha256_group(5));
  EXPECT_NE(&sha256_group(5), &sha256_group(6));
  EXPECT_NE(&sha256_group(5), &sha256_group());
}

TEST(LanesToTake, IsAtLeastAnEvenShareAndNeverMoreThanWaitOrFit) {
  ASSERT_TRUE(pool_comes_to_rest());
  for (unsigned m = 0; m < kCpuModeCount; ++m) {
    if (!cpu_mode_supported(static_cast<CpuMode>(m), cpu_choice().cpu)) continue;
    const ScopedPlan plan(static_cast<CpuMode>(m));
    for (const unsigned limit : {0U, 1U, 2U, 7U}) {
      const runtime::Group& group = sha256_group(limit);
      for (unsigned workers = 1; workers <= 9; ++workers) {
        const unsigned active = limit != 0 ? std::min(limit, workers) : workers;
        for (unsigned waiting = 1; waiting <= 80; ++waiting) {
          const unsigned lanes = group.lanes_to_take(waiting, workers);
          EXPECT_LE(lanes, std::min(waiting, kMaxLanes)) << waiting << " for " << workers;
          EXPECT_GE(lanes, std::min((waiting + active - 1) / active, kMaxLanes)) << waiting << " for " << workers;
        }
      }
    }
  }
  EXPECT_GE(sha256_group().lanes_to_take(0, 2), 1U);
  EXPECT_GE(sha256_group().lanes_to_take(3, 0), 1U);
}

TEST(LanesToTake, PrefersFullLanesAndARestWhereTheRatesSaySo) {
  ASSERT_TRUE(pool_comes_to_rest());
  Plan plan = current_plan();
  const auto rates = [&](double few, double ten, double full) {
    for (unsigned n = 0; n <= kMaxLanes; ++n) plan.rate[n] = n < 5 ? few : n < 16 ? ten : full;
  };
  rates(2.6, 2.7, 4.2);  // full lanes far ahead of all others
  {
    const ScopedPlan scoped(plan);
    EXPECT_EQ(sha256_group().lanes_to_take(20, 2), 16U) << "16 + 4 beats 10 + 10";
    EXPECT_EQ(sha256_group().lanes_to_take(8, 2), 4U) << "nothing gained by taking more: share";
  }
  rates(3.3, 3.4, 3.5);  // Zen 4: no gain that is worth an idle core
  {
    const ScopedPlan scoped(plan);
    EXPECT_EQ(sha256_group().lanes_to_take(10, 2), 5U);
  }
}

}  // namespace
}  // namespace offloop::hash
