// Files hashed while they are read.
#include "offloop/hash/file_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "offloop/base/counters.h"
#include "offloop/hash/hash.h"
#include "offloop/runtime/clock.h"
#include "support/child.h"
#include "support/counters_listener.h"
#include "support/hash_probe.h"
#include "support/temp_dir.h"

namespace offloop::hash {
namespace {

using offloop::testing::BusyWorkers;
using offloop::testing::Bytes;
using offloop::testing::comes_true;
using offloop::testing::noise_bytes;
using offloop::testing::openssl_hex;
using offloop::testing::TempDir;

class Job final : public FileJob {
 public:
  explicit Job(std::string path, const Algorithm& algorithm = Algorithm::sha256())
      : FileJob(std::move(path), algorithm) {}

  /// The digest in hexadecimal or the error's name.
  std::string wait() {
    if (!comes_true([this] { return ends_.load() != 0; })) return "hangs";
    return result_->ok() ? result_->value().hex() : error_code_name(result_->error().code);
  }
  [[nodiscard]] const Error& error() const { return result_->error(); }
  [[nodiscard]] int ends() const { return ends_.load(); }

 private:
  void ended(Result<Digest> result) noexcept override {
    result_.emplace(std::move(result));
    EXPECT_EQ(ends_.fetch_add(1), 0) << "ended twice";
  }
  std::optional<Result<Digest>> result_;
  std::atomic<int> ends_{0};
};

TEST(FileReader, HashesFilesOfEverySizeAroundItsBlocks) {
  const TempDir dir;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, kChunkBytes - 1, kChunkBytes, kChunkBytes + 1,
        2 * kChunkBytes, 4 * kChunkBytes, 4 * kChunkBytes + 1, 7 * kChunkBytes + 12345}) {
    const Bytes content = noise_bytes(size, size);
    const std::string path = dir.write(std::to_string(size), content);
    EXPECT_EQ(file_digest(path).get().value().hex(), openssl_hex(content)) << size;
    EXPECT_EQ(file_digest(path, "sha512").get().value().hex(), openssl_hex(content, "SHA512")) << size;
  }
}

TEST(FileReader, SaysWhenAReaderTookItUp) {
  const TempDir dir;
  for (const std::string& path : {dir.write("file", noise_bytes(3 * kChunkBytes, 1)), dir / "missing"}) {
    Job job(path);
    const std::int64_t before = runtime::now_ns();
    ASSERT_TRUE(job.start());
    job.wait();
    EXPECT_LE(before, job.started_ns()) << path;
    EXPECT_LE(job.started_ns(), runtime::now_ns()) << path;
  }
}

TEST(FileReader, ReadsToTheEndWhereTheSizeSaysNothing) {
  struct stat status {};
  ASSERT_EQ(::stat("/proc/version", &status), 0);
  ASSERT_EQ(status.st_size, 0);
  std::ifstream file("/proc/version", std::ios::binary);
  const Bytes content{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(content.empty());
  EXPECT_EQ(file_digest("/proc/version").get().value().hex(), openssl_hex(content));
}

TEST(FileReader, ReadsAPipeThatIsFilledMeanwhile) {
  const TempDir dir;
  const std::string path = dir / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Bytes content = noise_bytes(3 * kChunkBytes + 777, 3);  // many short reads a block
  Job job(path);
  ASSERT_TRUE(job.start());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  for (std::size_t at = 0; at < content.size();) {
    const ssize_t n = ::write(fd, content.data() + at, std::min<std::size_t>(5000, content.size() - at));
    ASSERT_GT(n, 0);
    at += static_cast<std::size_t>(n);
  }
  EXPECT_EQ(job.ends(), 0) << "the pipe is still open";
  ::close(fd);
  EXPECT_EQ(job.wait(), openssl_hex(content));
}

TEST(FileReader, SaysWhichFileAndWhy) {
  const TempDir dir;
  const auto error_of = [](const std::string& path) {
    Job job(path);
    EXPECT_TRUE(job.start());
    EXPECT_EQ(job.wait(), "Io") << path;
    EXPECT_EQ(job.error().context, path);
    EXPECT_NE(job.error().message.find("cannot"), std::string::npos) << job.error().message;
    return job.error().system;
  };
  EXPECT_EQ(error_of(dir / "missing"), ENOENT);
  EXPECT_EQ(error_of(dir / "."), EISDIR);
  EXPECT_EQ(error_of(dir.write("plain", Bytes(3)) + "/below"), ENOTDIR);
  EXPECT_EQ(error_of(""), ENOENT);
  EXPECT_EQ(error_of("/proc/self/mem"), EIO) << "an error of read(), after the stream was made";
}

TEST(FileReader, ManyFilesAtOnceNeedFewDescriptors) {
  const TempDir dir;
  const Bytes zeros(5 * kChunkBytes);
  const std::string answer = openssl_hex(zeros);
  // Too long to be read while the workers are busy, so each stays open; without a block on the disk.
  std::deque<Job> large;
  for (std::size_t i = 0; i < 120; ++i) {
    large.emplace_back(dir.write("large" + std::to_string(i), Bytes()));
    ASSERT_EQ(::truncate(large.back().path().c_str(), static_cast<off_t>(zeros.size())), 0);
  }
  std::deque<Job> small;
  std::vector<std::string> answers;
  for (std::size_t i = 0; i < 400; ++i) {
    const Bytes content = noise_bytes(i * 37, i);
    const bool missing = i % 100 == 99;
    small.emplace_back(missing ? dir / "missing" : dir.write(std::to_string(i), content));
    answers.push_back(missing ? "Io" : openssl_hex(content));
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{100, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  {
    BusyWorkers busy;
    for (Job& job : large) ASSERT_TRUE(job.start());
    for (Job& job : small) ASSERT_TRUE(job.start());
    EXPECT_TRUE(!kCountersOn || comes_true([] { return live_count(Counted::kChunk) == 64 * 4; }));
  }
  for (Job& job : large) EXPECT_EQ(job.wait(), answer);
  for (std::size_t i = 0; i < small.size(); ++i) EXPECT_EQ(small[i].wait(), answers[i]) << i;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(FileReader, AStopEndsItAtTheNextBlock) {
  const TempDir dir;
  const std::string path = dir / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  Job reading(path);
  ASSERT_TRUE(reading.start());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const Bytes block(kChunkBytes);
  const auto write_block = [&] {
    for (std::size_t at = 0; at < block.size();) {
      const ssize_t n = ::write(fd, block.data() + at, block.size() - at);
      if (n <= 0) return;
      at += static_cast<std::size_t>(n);
    }
  };
  std::signal(SIGPIPE, SIG_IGN);  // it may stop, and close the pipe, before the next block
  write_block();
  reading.request_stop();
  write_block();  // at most one more is read before it looks
  EXPECT_EQ(reading.wait(), "Stopped");
  ::close(fd);

  Job early(dir.write("file", noise_bytes(2'000'000, 1)));
  early.request_stop();
  ASSERT_TRUE(early.start());
  EXPECT_EQ(early.wait(), "Stopped");
}

/// A pipe in the file system, and what a writer does with it.
class Fifo {
 public:
  explicit Fifo(std::string path) : path_(std::move(path)) { EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0); }
  ~Fifo() { close(); }
  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Returns when there is a reader.
  void open() { ASSERT_GE(fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC), 0); }
  /// Returns when all of it has been read.
  void give(ByteSpan bytes) {
    ASSERT_EQ(::write(fd_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ASSERT_TRUE(comes_true([this] {
      int unread = -1;
      return ::ioctl(fd_, FIONREAD, &unread) == 0 && unread == 0;
    }));
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  const std::string path_;
  int fd_ = -1;
};

TEST(FileReader, PipesWithoutAWriterStopNoOtherFileAndEndWhenToldTo) {
  const TempDir dir;
  std::deque<Fifo> fifos;
  std::deque<Job> jobs;  // more than may be open at once, and far more than there are readers
  for (int i = 0; i < 100; ++i) {
    fifos.emplace_back(dir / ("pipe" + std::to_string(i)));
    jobs.emplace_back(fifos.back().path());
    ASSERT_TRUE(jobs.back().start());
  }
  const Bytes content = noise_bytes(kChunkBytes + 5, 1);
  EXPECT_EQ(file_digest(dir.write("file", content)).get().value().hex(), openssl_hex(content));
  for (Job& job : jobs) EXPECT_EQ(job.ends(), 0) << "nobody has opened it";
  for (Job& job : jobs) job.request_stop();
  for (Job& job : jobs) EXPECT_EQ(job.wait(), "Stopped");
}

TEST(FileReader, FilesWaitWhileTooManyPipesHaveNoWriter) {
  const TempDir dir;
  const Fifo fifo(dir / "pipe");
  std::deque<Job> jobs;
  for (int i = 0; i < 1000; ++i) {
    jobs.emplace_back(fifo.path());
    ASSERT_TRUE(jobs.back().start());
  }
  Job file(dir.write("file", Bytes(10)));
  ASSERT_TRUE(file.start());
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  EXPECT_TRUE(comes_true([&] { return descriptors() >= 320; }));
  EXPECT_LT(descriptors(), 350);
  for (Job& job : jobs) job.request_stop();
  for (Job& job : jobs) EXPECT_EQ(job.wait(), "Stopped");
  EXPECT_EQ(file.wait(), openssl_hex(Bytes(10)));
}

TEST(FileReader, APipeWhoseWriterPausesIsReadOn) {
  const TempDir dir;
  const Bytes content = noise_bytes(3000, 4);
  Fifo fifo(dir / "pipe");
  Job job(fifo.path());
  ASSERT_TRUE(job.start());
  fifo.open();
  for (const std::size_t size : {1, 63, 900, 36}) {
    fifo.give(ByteSpan(content).first(size));
  }
  EXPECT_EQ(job.ends(), 0);
  fifo.give(ByteSpan(content).subspan(0, 2000));
  fifo.close();
  Bytes all;
  for (const std::size_t size : {1, 63, 900, 36, 2000})
    all.insert(all.end(), content.begin(), content.begin() + static_cast<std::ptrdiff_t>(size));
  EXPECT_EQ(job.wait(), openssl_hex(all));
}

TEST(FileReader, AWriterThatSaysNothingMakesAnEmptyFile) {
  const TempDir dir;
  Fifo fifo(dir / "pipe");
  Job job(fifo.path());
  ASSERT_TRUE(job.start());
  fifo.open();
  fifo.close();
  EXPECT_EQ(job.wait(), openssl_hex(Bytes()));
}

TEST(FileReader, AStopEndsAPipeInTheMiddleOfABlock) {
  const TempDir dir;
  Fifo fifo(dir / "pipe");
  Job job(fifo.path());
  ASSERT_TRUE(job.start());
  fifo.open();
  fifo.give(Bytes(777));
  job.request_stop();
  EXPECT_EQ(job.wait(), "Stopped") << "its writer is still there";
}

TEST(FileReader, AStopThatRacesTheWaitIsSeen) {
  const TempDir dir;
  const Fifo fifo(dir / "pipe");
  for (int i = 0; i < 300; ++i) {
    Job job(fifo.path());
    ASSERT_TRUE(job.start());
    for (int turns = i % 50; turns > 0; --turns) ::sched_yield();
    job.request_stop();
    ASSERT_EQ(job.wait(), "Stopped");
  }
}

TEST(FileReader, WithoutADescriptorToWaitWithAPipeIsAnErrorAndOtherFilesAreNot) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer lets no forked child start threads";
#endif
  const TempDir dir;
  const Fifo fifo(dir / "pipe");
  const std::string path = dir.write("file", Bytes(10));
  EXPECT_EQ(testing::run_in_child([&] {
              EXPECT_TRUE(file_digest(path).get().ok());  // a child has readers of its own
              const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
              ::close(lowest);
              rlimit limit{};
              ::getrlimit(RLIMIT_NOFILE, &limit);
              const rlimit one_more{static_cast<rlim_t>(lowest) + 1, limit.rlim_max};
              ::setrlimit(RLIMIT_NOFILE, &one_more);
              Job job(fifo.path());
              if (!job.start() || job.wait() != "Io" || job.error().system != EMFILE) return 1;
              if (!file_digest(path).get().ok()) return 2;
              ::setrlimit(RLIMIT_NOFILE, &limit);
              Job again(fifo.path());
              if (!again.start()) return 3;
              again.request_stop();
              return again.wait() == "Stopped" ? 0 : 4;
            }),
            "exit 0");
}

/// How often this process has that file open.
int times_open(const std::string& path) {
  int times = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    times += std::filesystem::read_symlink(entry.path(), gone) == path ? 1 : 0;
  }
  return times;
}

TEST(FileReader, PipesAreWaitedForWhenFewerDescriptorsAreAllowedThanThereAre) {
  const TempDir dir;
  Fifo fifo(dir / "pipe");
  std::deque<Job> jobs;
  for (int i = 0; i < 50; ++i) {
    jobs.emplace_back(fifo.path());
    ASSERT_TRUE(jobs.back().start());
  }
  ASSERT_TRUE(comes_true([&] { return times_open(fifo.path()) == 50; })) << "none is to be opened below the limit";
  fifo.open();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  jobs.front().request_stop();  // wakes the one that waits, which is then refused
  EXPECT_EQ(jobs.front().wait(), "Stopped");
  fifo.close();
  for (std::size_t i = 1; i < jobs.size(); ++i) EXPECT_EQ(jobs[i].wait(), openssl_hex(Bytes()));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(FileReader, AFileThatIsLeasedIsReadWhenItIsGivenBack) {
  const TempDir dir;
  const std::string path = dir.write("file", Bytes(10));
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::signal(SIGIO, SIG_IGN);
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) GTEST_SKIP() << "no leases on this file system";
  Job job(path);
  ASSERT_TRUE(job.start());
  ASSERT_TRUE(comes_true([&] { return ::fcntl(fd, F_GETLEASE) != F_WRLCK; })) << "the open has asked for it";
  EXPECT_EQ(job.ends(), 0);
  ASSERT_EQ(::fcntl(fd, F_SETLEASE, F_UNLCK), 0);
  EXPECT_EQ(job.wait(), openssl_hex(Bytes(10)));
  ::close(fd);
}

TEST(FileReader, AStopEndsAFileWhoseBlocksWaitForAWorker) {
  const TempDir dir;
  Job job(dir.write("file", noise_bytes(3'000'000, 1)));
  {
    BusyWorkers busy;
    ASSERT_TRUE(job.start());
    ASSERT_TRUE(!kCountersOn || comes_true([] { return live_count(Counted::kChunk) == 4; }));
    job.request_stop();
  }
  EXPECT_EQ(job.wait(), "Stopped");
}

TEST(FileReader, ABusyPoolLimitsWhatIsReadAhead) {
  if (!kCountersOn) GTEST_SKIP() << "needs the counters of a debug build";
  const TempDir dir;
  const Bytes content = noise_bytes(5'000'000, 1);
  const Bytes small = noise_bytes(100, 2);
  Job job(dir.write("file", content));
  std::deque<Job> others;
  {
    BusyWorkers busy;
    ASSERT_TRUE(job.start());
    ASSERT_TRUE(comes_true([] { return live_count(Counted::kChunk) == 4; }));
    // The readers go on with other files, and each brings its one block: were the first file still read, there would be
    // more.
    for (int i = 0; i < 40; ++i) others.emplace_back(dir.write("other", small));
    for (Job& other : others) ASSERT_TRUE(other.start());
    ASSERT_TRUE(comes_true([] { return live_count(Counted::kChunk) >= 4 + 40; }));
    EXPECT_EQ(live_count(Counted::kChunk), 4 + 40);
  }
  EXPECT_EQ(job.wait(), openssl_hex(content));
  for (Job& other : others) EXPECT_EQ(other.wait(), openssl_hex(small));
}

TEST(FileReader, AFileThatShrinksOrGrowsWhileItIsReadEnds) {
  if (!kCountersOn) GTEST_SKIP() << "needs the counters of a debug build";
  const TempDir dir;
  const Bytes content = noise_bytes(16 * kChunkBytes, 1);
  const std::size_t read = 4 * kChunkBytes;
  Job shrinking(dir.write("shrinks", content));
  {
    BusyWorkers busy;
    ASSERT_TRUE(shrinking.start());
    ASSERT_TRUE(comes_true([] { return live_count(Counted::kChunk) == 4; }));
    ASSERT_EQ(::truncate((dir / "shrinks").c_str(), static_cast<off_t>(read) + 1000), 0);
  }
  EXPECT_EQ(shrinking.wait(), openssl_hex(ByteSpan(content).first(read + 1000))) << "what was there";

  Job growing(dir.write("grows", content));
  {
    BusyWorkers busy;
    ASSERT_TRUE(growing.start());
    ASSERT_TRUE(comes_true([] { return live_count(Counted::kChunk) == 4; }));
    std::ofstream(dir / "grows", std::ios::app) << "more";
  }
  EXPECT_EQ(growing.wait(), openssl_hex(content)) << "up to the size it had when it was opened";
}

TEST(FileReader, AFailureOfTheHashFunctionEndsTheFile) {
  const EVP_MD* method = offloop::testing::failing_method();
  if (method == nullptr) GTEST_SKIP() << "this OpenSSL runs MD4";
  const Algorithm broken("md4", 16, method);
  const TempDir dir;
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, 20 * kChunkBytes}) {
    Job job(dir.write("file", Bytes(size)), broken);
    ASSERT_TRUE(job.start());
    EXPECT_EQ(job.wait(), "Internal") << size;
  }
  Job parked(dir.write("file", Bytes(20 * kChunkBytes)), broken);
  {
    BusyWorkers busy;
    ASSERT_TRUE(parked.start());
    ASSERT_TRUE(!kCountersOn || comes_true([] { return live_count(Counted::kChunk) == 4; }));
  }
  EXPECT_EQ(parked.wait(), "Internal") << "it waited for room";
}

TEST(FileReader, AJobMayBeDeletedInItsEnd) {
  struct Own final : FileJob {
    Own(std::string path, std::atomic<int>& count)
        : FileJob(std::move(path), Algorithm::sha256()), ended_count(count) {}
    void ended(Result<Digest>) noexcept override {
      std::atomic<int>& count = ended_count;
      delete this;
      count.fetch_add(1);
    }
    std::atomic<int>& ended_count;
  };
  const TempDir dir;
  const std::string path = dir.write("file", noise_bytes(5000, 1));
  std::atomic<int> count{0};
  for (int i = 0; i < 300; ++i) {
    auto* job = new Own(i % 3 == 0 ? dir / "missing" : path, count);
    ASSERT_TRUE(job->start());
  }
  EXPECT_TRUE(comes_true([&] { return count.load() == 300; }));
}

}  // namespace
}  // namespace offloop::hash
