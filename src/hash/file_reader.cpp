// A file's own part of the reading: what is done with one block. The threads that do it: reader_threads.h.
#include "offloop/hash/file_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "hash/reader_threads.h"
#include "offloop/runtime/clock.h"

namespace offloop::hash {
namespace {

/// Blocks of one file between the reader and the lanes: enough for a lane to go on while the next is read.
constexpr unsigned kMaxChunks = 4;

}  // namespace

bool FileJob::start() noexcept {
  ReaderThreads* readers = ReaderThreads::instance();
  if (readers == nullptr) return false;
  readers->add(this);
  return true;
}

void FileJob::request_stop() noexcept {
  stop_.store(true, std::memory_order_seq_cst);
  if (!waiting_.load(std::memory_order_seq_cst)) return;
  if (ReaderThreads* readers = ReaderThreads::instance_if_started(); readers != nullptr) readers->stop_requested();
}

bool FileJob::open() noexcept {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY;
  // A pipe is opened without waiting for its writer, and read without waiting for data: no reader is held.
  fd_ = ::open(path_.c_str(), kFlags | O_NONBLOCK);
  // A file that a server has leased: it gives it back soon, or the kernel takes it (after 45 s).
  if (fd_ < 0 && errno == EWOULDBLOCK) fd_ = ::open(path_.c_str(), kFlags);
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
  is_pipe_ = S_ISFIFO(status.st_mode);
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
  if (ReaderThreads* readers = ReaderThreads::instance(); readers != nullptr) readers->left();
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

/// Reads until the chunk is full, the file has ended or has no data at the moment.
FileJob::Filled FileJob::fill(Chunk& chunk) noexcept {
  // Until its first writer comes a pipe looks like one whose last writer has gone: only poll() knows which.
  if (is_pipe_ && offset_ == 0 && chunk.size == 0) {
    pollfd one{fd_, POLLIN, 0};
    if (::poll(&one, 1, 0) == 0) return Filled::kNoData;
  }
  while (chunk.size < chunk.capacity) {
    const ssize_t got = ::read(fd_, chunk.data() + chunk.size, chunk.capacity - chunk.size);
    if (got > 0) {
      chunk.size += static_cast<std::size_t>(got);
    } else if (got == 0) {
      return Filled::kEnd;
    } else if (errno == EAGAIN) {
      return Filled::kNoData;
    } else if (errno != EINTR) {
      return Filled::kError;
    }
  }
  return Filled::kFull;
}

/// Lets go of the reader until there is data; an empty chunk is not kept meanwhile. The job may run elsewhere, and be
/// gone, when it returns.
void FileJob::wait_for_data(Chunk* chunk) noexcept {
  if (chunk->size != 0) {
    partial_ = chunk;
  } else {
    free_chunk(chunk);
  }
  ReaderThreads* readers = ReaderThreads::instance();
  if (readers->wait_for_data(this)) return;
  const int error = errno;
  free_partial();
  fail(error, "wait for data");
}

void FileJob::free_partial() noexcept {
  if (partial_ != nullptr) free_chunk(std::exchange(partial_, nullptr));
}

bool FileJob::read_block() noexcept {
  if (started_ns_ == 0) started_ns_ = runtime::now_ns();
  if (stream_ == nullptr && !open()) return false;
  if (stop_.load(std::memory_order_relaxed)) {
    free_partial();
    set_failure(ErrorCode::kStopped, 0, "stopped");
    stream_->abort();
    return false;
  }
  Chunk* chunk = std::exchange(partial_, nullptr);
  if (chunk == nullptr) {
    const std::uint64_t left = known_size_ > offset_ ? known_size_ - offset_ : kChunkBytes;
    chunk = make_chunk(left < kChunkBytes ? static_cast<std::size_t>(left) : kChunkBytes);
  }
  if (chunk == nullptr) {
    fail(ENOMEM, "read");
    return false;
  }
  const Filled filled = fill(*chunk);
  if (filled == Filled::kNoData) {
    wait_for_data(chunk);
    return false;
  }
  if (filled == Filled::kError) {
    const int error = errno;
    free_chunk(chunk);
    fail(error, "read");
    return false;
  }
  offset_ += chunk->size;
  // A file is hashed up to the size it had when it was opened, or its end where that comes first: what is appended
  // while it is read does not count. One read of nothing is saved for every ordinary file. A size of 0 (/proc) says
  // nothing.
  if (filled == Filled::kEnd || offset_ == known_size_) {
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
  if (ReaderThreads* readers = ReaderThreads::instance(); readers != nullptr) readers->requeue(this);
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
  if (ReaderThreads* readers = ReaderThreads::instance(); readers != nullptr) readers->left();
  ended(std::move(result));
}

}  // namespace offloop::hash
