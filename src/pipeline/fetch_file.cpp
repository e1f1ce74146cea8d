// Bodies into files, by one writer thread of the process: I/O threads must not wait for a disk.
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include "offloop/pipeline/stream_body.h"
#include "offloop/runtime/fork.h"
#include "runtime/parking.h"

namespace offloop::pipeline {

/// The process's writer: made on first use, never freed; made anew after a fork.
class FileWriter {
 public:
  static FileWriter* instance() noexcept;

  /// An entry with a chunk is deleted, an end belongs to its job. [any thread]
  void add(FileWriterEntry* entry) noexcept {
    {
      const std::lock_guard lock(mutex_);
      (last_ == nullptr ? first_ : last_->next) = entry;
      last_ = entry;
    }
    changes_.fetch_add(1, std::memory_order_release);
    runtime::futex_wake(&changes_, 1);
  }

 private:
  bool start() noexcept;
  void run() noexcept {
    while (true) {
      const std::uint32_t seen = changes_.load(std::memory_order_acquire);
      FileWriterEntry* entry = nullptr;
      {
        const std::lock_guard lock(mutex_);
        entry = first_;
        if (entry != nullptr) {
          first_ = entry->next;
          if (first_ == nullptr) last_ = nullptr;
        }
      }
      if (entry == nullptr) {
        runtime::futex_wait(&changes_, seen, -1);
        continue;
      }
      FetchFileJob* job = entry->job;
      hash::Chunk* chunk = entry->chunk;
      if (chunk != nullptr) {
        delete entry;
        job->write(chunk);
      } else {
        job->close();
      }
    }
  }

  std::mutex mutex_;  // guards the queue
  FileWriterEntry* first_ = nullptr;
  FileWriterEntry* last_ = nullptr;
  std::atomic<std::uint32_t> changes_{0};  ///< futex word
};

namespace {

std::atomic<std::uint32_t> g_start_lock{0};
std::atomic<FileWriter*> g_writer{nullptr};
std::atomic<std::uint32_t> g_writer_generation{0};

/// The error with the path, where there is memory for it.
Error about(const std::string& path, Error error) noexcept {
  try {
    error.context = path;
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): the code says what to do
  }
  return error;
}

}  // namespace

FileWriter* FileWriter::instance() noexcept {
  const runtime::ForkLock lock(g_start_lock);
  FileWriter* writer = g_writer.load(std::memory_order_relaxed);
  if (writer != nullptr && g_writer_generation.load(std::memory_order_relaxed) == runtime::fork_generation())
    return writer;
  writer = new (std::nothrow) FileWriter;
  if (writer == nullptr) return nullptr;
  if (!writer->start()) {
    delete writer;
    return nullptr;
  }
  g_writer.store(writer, std::memory_order_relaxed);
  g_writer_generation.store(runtime::fork_generation(), std::memory_order_relaxed);
  return writer;
}

bool FileWriter::start() noexcept {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const auto entry = [](void* self) -> void* {
    pthread_setname_np(pthread_self(), "offloop-write");
    static_cast<FileWriter*>(self)->run();
    return nullptr;
  };
  const bool started = pthread_create(&thread, nullptr, entry, this) == 0;
  if (started) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void FetchFileJob::on_chunk(hash::Chunk* chunk) noexcept {
  FileWriter* writer = FileWriter::instance();
  if (writer != nullptr) {
    if (auto* entry = new (std::nothrow) FileWriterEntry{this, chunk, nullptr}) return writer->add(entry);
  }
  // The writer cannot take it: the file would have a hole, so the transfer ends here.
  lost_.store(true, std::memory_order_release);
  chunk_done(chunk);
  cancel();
}

void FetchFileJob::on_end(Result<fetch::TransferInfo> result) noexcept {
  result_ = std::move(result);
  FileWriter* writer = FileWriter::instance();
  end_.job = this;
  if (writer != nullptr) return writer->add(&end_);
  // There was none before, either, so nobody else has to do with the file.
  error_ = about(path_, Error(ErrorCode::kOutOfMemory, "the writer thread cannot take the file's end"));
  close();
}

void FetchFileJob::fail(const char* doing) noexcept {
  const int error = errno;
  try {
    error_ = Error(ErrorCode::kIo, std::string("cannot ") + doing + ": " + std::strerror(error), path_, error);
  } catch (const std::bad_alloc&) {
    error_ = Error(error == ENOMEM ? ErrorCode::kOutOfMemory : ErrorCode::kIo, doing);
    error_.system = error;
  }
  cancel();
}

void FetchFileJob::write(hash::Chunk* chunk) noexcept {
  if (fd_ < 0 && error_.code == ErrorCode::kOk) open_part();
  std::size_t done = 0;
  while (error_.code == ErrorCode::kOk && done < chunk->size) {
    const ssize_t n = ::write(fd_, chunk->data() + done, chunk->size - done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (n < 0 && errno != EINTR) {
      fail("write");
    }
  }
  chunk_done(chunk);
}

void FetchFileJob::open_part() noexcept {
  fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("open");
}

void FetchFileJob::close() noexcept {
  if (lost_.load(std::memory_order_acquire) && error_.code == ErrorCode::kOk)
    error_ = about(path_, Error(ErrorCode::kOutOfMemory, "the writer thread could not take a chunk"));
  if (result_.ok() && fd_ < 0 && error_.code == ErrorCode::kOk) open_part();  // an empty body is an empty file
  if (fd_ >= 0) {
    if (::close(fd_) != 0 && error_.code == ErrorCode::kOk) fail("close");
    fd_ = -1;
    if (!result_.ok() || error_.code != ErrorCode::kOk) {
      ::unlink(part_.c_str());
    } else if (::rename(part_.c_str(), path_.c_str()) != 0) {
      fail("rename");
      ::unlink(part_.c_str());
    }
  }
  // The file's own error is why the transfer was cancelled: it is the one to tell.
  if (error_.code != ErrorCode::kOk) return ended(Result<fetch::TransferInfo>(std::move(error_)));
  ended(std::move(result_));
}

}  // namespace offloop::pipeline
