// Reader threads: they block in the disk so that workers never do. Any reader serves any file, a block at a time; a
// file has at most kMaxChunks blocks on their way, so a fast disk does not fill the memory and a slow one does not hold
// a worker.
#include "offloop/hash/file_reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <new>

#include "offloop/runtime/fork.h"
#include "runtime/parking.h"

namespace offloop::hash {

/// The process's readers. Made on first use, never freed; made anew after a fork.
class FileReader {
 public:
  static FileReader* instance() noexcept;

  /// A new file: it waits while kMaxOpen others are open. [any thread]
  void add(FileJob* job) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (open_ < kMaxOpen) {
        ++open_;
        push(ready_, job);
      } else {
        push(waiting_, job);
      }
    }
    wake();
  }
  /// An open file wants its next block. [any thread]
  void requeue(FileJob* job) noexcept {
    {
      const std::lock_guard lock(mutex_);
      push(ready_, job);
    }
    wake();
  }
  /// An open file has ended: its place goes to one that waits. [any thread]
  void left() noexcept {
    bool more = false;
    {
      const std::lock_guard lock(mutex_);
      if (FileJob* next = pop(waiting_); next != nullptr) {
        push(ready_, next);
        more = true;
      } else {
        --open_;
      }
    }
    if (more) wake();
  }

 private:
  // Enough to keep 16 lanes of several workers full, few enough for the usual limit of 1024 descriptors.
  static constexpr unsigned kMaxOpen = 64;
  // Blocked readers are parallel requests to the disk; cached files need only as many as there are cores to copy.
  static constexpr unsigned kReaders = 4;

  struct Queue {
    FileJob* first = nullptr;
    FileJob* last = nullptr;
  };
  static void push(Queue& queue, FileJob* job) noexcept {
    job->next_ = nullptr;
    (queue.last == nullptr ? queue.first : queue.last->next_) = job;
    queue.last = job;
  }
  static FileJob* pop(Queue& queue) noexcept {
    FileJob* job = queue.first;
    if (job == nullptr) return nullptr;
    queue.first = job->next_;
    if (queue.first == nullptr) queue.last = nullptr;
    return job;
  }

  void wake() noexcept {
    work_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) != 0) runtime::futex_wake(&work_, 1);
  }

  void run() noexcept {
    while (true) {
      const std::uint32_t seen = work_.load(std::memory_order_seq_cst);
      FileJob* job = nullptr;
      {
        const std::lock_guard lock(mutex_);
        job = pop(ready_);
      }
      if (job != nullptr) {
        if (job->read_block()) requeue(job);
        continue;
      }
      sleeping_.fetch_add(1, std::memory_order_seq_cst);
      runtime::futex_wait(&work_, seen, -1);
      sleeping_.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  bool start() noexcept;

  std::mutex mutex_;  // guards the queues and open_
  Queue ready_;
  Queue waiting_;
  unsigned open_ = 0;
  std::atomic<std::uint32_t> work_{0};  ///< futex word: changes whenever there may be something to do
  std::atomic<std::uint32_t> sleeping_{0};
};

namespace {

std::atomic<std::uint32_t> g_start_lock{0};
std::atomic<FileReader*> g_reader{nullptr};
std::atomic<std::uint32_t> g_reader_generation{0};

/// Blocks of one file between the reader and the lanes: enough for a lane to go on while the next is read.
constexpr unsigned kMaxChunks = 4;

}  // namespace

FileReader* FileReader::instance() noexcept {
  const std::uint32_t generation = runtime::fork_generation();
  FileReader* reader = g_reader.load(std::memory_order_acquire);
  if (reader != nullptr && g_reader_generation.load(std::memory_order_acquire) == generation) return reader;
  const runtime::ForkLock lock(g_start_lock);
  reader = g_reader.load(std::memory_order_acquire);
  if (reader != nullptr && g_reader_generation.load(std::memory_order_acquire) == generation) return reader;
  reader = new (std::nothrow) FileReader;
  if (reader == nullptr || !reader->start()) return nullptr;
  g_reader.store(reader, std::memory_order_release);
  g_reader_generation.store(generation, std::memory_order_release);
  return reader;
}

bool FileReader::start() noexcept {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  unsigned started = 0;
  for (unsigned i = 0; i < kReaders; ++i) {
    pthread_t thread;
    const auto entry = [](void* self) -> void* {
      pthread_setname_np(pthread_self(), "offloop-read");
      static_cast<FileReader*>(self)->run();
      return nullptr;
    };
    if (pthread_create(&thread, nullptr, entry, this) != 0) break;
    pthread_detach(thread);
    ++started;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started != 0;
}

bool FileJob::start() noexcept {
  FileReader* reader = FileReader::instance();
  if (reader == nullptr) return false;
  reader->add(this);
  return true;
}

bool FileJob::open() noexcept {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd_ < 0) {
    fail(errno, "open");
    return false;
  }
  struct stat status {};
  if (::fstat(fd_, &status) != 0) {
    fail(errno, "stat");
    return false;
  }
  if (S_ISDIR(status.st_mode)) {
    fail(EISDIR, "read");
    return false;
  }
  known_size_ = S_ISREG(status.st_mode) && status.st_size > 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (known_size_ > kChunkBytes) ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  stream_ = PieceStream::create(algorithm_, *this);
  if (stream_ == nullptr) {
    fail(ENOMEM, "hash");
    return false;
  }
  return true;
}

/// Ends the job before it has a stream, or with the stream's abort once it has one. The job may be gone afterwards.
void FileJob::fail(int error, const char* doing) noexcept {
  set_failure(error == ENOMEM ? ErrorCode::kOutOfMemory : ErrorCode::kIo, error, doing);
  if (stream_ != nullptr) return stream_->abort();
  close_file();
  if (FileReader* reader = FileReader::instance(); reader != nullptr) reader->left();
  ended(Result<Digest>(std::move(error_)));
}

/// The error with its words and the path, or without them where there is no memory for either.
void FileJob::set_failure(ErrorCode code, int error, const char* doing) noexcept {
  error_.code = code;
  error_.system = error;
  try {
    std::string message = doing;
    if (code == ErrorCode::kIo) message = "cannot " + message + ": " + std::strerror(error);
    if (code == ErrorCode::kOutOfMemory) message = "out of memory to " + message;
    error_ = Error(code, std::move(message), path_, error);
  } catch (const std::bad_alloc&) {
    error_.message = "out of memory";  // short: no allocation
  }
}

void FileJob::close_file() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool FileJob::read_block() noexcept {
  if (stream_ == nullptr && !open()) return false;
  if (stop_.load(std::memory_order_relaxed)) {
    set_failure(ErrorCode::kStopped, 0, "stopped");
    stream_->abort();
    return false;
  }
  const std::uint64_t left = known_size_ > offset_ ? known_size_ - offset_ : kChunkBytes;
  Chunk* chunk = make_chunk(left < kChunkBytes ? static_cast<std::size_t>(left) : kChunkBytes);
  if (chunk == nullptr) {
    fail(ENOMEM, "read");
    return false;
  }
  bool end = false;
  while (chunk->size < chunk->capacity) {
    const ssize_t got = ::read(fd_, chunk->data() + chunk->size, chunk->capacity - chunk->size);
    if (got > 0) {
      chunk->size += static_cast<std::size_t>(got);
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      free_chunk(chunk);
      fail(error, "read");
      return false;
    }
    end = true;
    break;
  }
  offset_ += chunk->size;
  // A file is hashed up to the size it had when it was opened, or its end where that comes first: what is appended
  // while it is read does not count. One read of nothing is saved for every ordinary file. A size of 0 (/proc) says
  // nothing.
  if (end || offset_ == known_size_) {
    close_file();
    stream_->feed_last(chunk);
    return false;
  }
  if (!stream_->feed(chunk)) {
    stream_->abort();  // ended early; on_end() says why
    return false;
  }
  if (stream_->chunks() < kMaxChunks) return true;
  // Full: the worker that frees a chunk queues the job, or this thread does if that happened just now.
  // An exchange, not a store: it reads what the last worker wrote there, and so sees the chunks that worker took.
  parked_.exchange(true, std::memory_order_seq_cst);
  return stream_->chunks() < kMaxChunks && parked_.exchange(false, std::memory_order_seq_cst);
}

void FileJob::on_consumed(std::size_t) noexcept {
  if (!parked_.exchange(false, std::memory_order_seq_cst)) return;
  if (FileReader* reader = FileReader::instance(); reader != nullptr) reader->requeue(this);
}

void FileJob::on_end(runtime::Outcome outcome, const Digest& digest) noexcept {
  Result<Digest> result(digest);
  if (outcome != runtime::Outcome::kValue) {
    if (error_.code == ErrorCode::kOk) {
      switch (outcome) {
        case runtime::Outcome::kStopped:  // refused by a pool that has ended, or could not be had
          if (runtime::Pool::instance_if_started() != nullptr) {
            set_failure(ErrorCode::kPoolClosed, 0, "the pool was shut down");
          } else {
            set_failure(ErrorCode::kOutOfMemory, ENOMEM, "start a worker thread");
          }
          break;
        case runtime::Outcome::kOutOfMemory:
          set_failure(ErrorCode::kOutOfMemory, ENOMEM, "hash");
          break;
        default:
          set_failure(ErrorCode::kInternal, 0, "the hash function failed");
          break;
      }
    }
    result = Result<Digest>(std::move(error_));
  }
  close_file();
  stream_->drop();
  if (FileReader* reader = FileReader::instance(); reader != nullptr) reader->left();
  ended(std::move(result));
}

}  // namespace offloop::hash
