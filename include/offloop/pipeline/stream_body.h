// A body that is passed on in chunks, with back-pressure: to a file's writer, or to whoever wants to see it go by.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "offloop/fetch/fetcher.h"
#include "offloop/hash/chunk.h"

namespace offloop::pipeline {

/// One URL whose body comes in chunks of up to 256 KiB, in order; when four of them are out the transfer is paused (the
/// last one may be a fifth). Derive, start() once; on_end() is called exactly once for each start() that succeeded,
/// after the last on_chunk().
class StreamJob : private fetch::BodyConsumer {
 public:
  StreamJob() = default;
  StreamJob(const StreamJob&) = delete;
  StreamJob& operator=(const StreamJob&) = delete;
  ~StreamJob() override { hash::free_chunk(chunk_); }

  /// Errors: as Fetcher::start; on_end() will not be called then. [any thread]
  Result<Unit> start(fetch::Fetcher& fetcher, const fetch::Request& request);
  /// [any thread, after start() has returned]
  void cancel() noexcept;

 protected:
  /// Takes the chunk over; give it to chunk_done() when it has been used. Must not block. [I/O thread]
  virtual void on_chunk(hash::Chunk* chunk) noexcept = 0;
  /// Nothing follows. Chunks may still be out. [I/O thread]
  virtual void on_end(Result<fetch::TransferInfo> result) noexcept = 0;
  /// Frees the chunk and lets the transfer go on. [any thread; the job must be alive]
  void chunk_done(hash::Chunk* chunk) noexcept;

 private:
  void on_accepted(fetch::TransferId id) override { id_.store(id, std::memory_order_release); }
  fetch::Flow on_body(ByteSpan bytes) override;
  void on_done(Result<fetch::TransferInfo> result) override;
  void pass_on() noexcept;

  std::mutex mutex_;  ///< guards fetcher_: no call into it is under way once on_done() has passed
  fetch::Fetcher* fetcher_ =
      nullptr;  ///< null before and after the transfer: chunks may be out longer than the fetcher lives
  std::atomic<fetch::TransferId> id_{0};
  hash::Chunk* chunk_ = nullptr;  ///< being filled
  std::atomic<unsigned> out_{0};  ///< chunks passed on and not done
  std::atomic<bool> paused_{false};
  bool out_of_memory_ = false;
};

class FetchFileJob;

/// What waits for the writer thread: a chunk, or null for the end of the job.
struct FileWriterEntry {
  FetchFileJob* job = nullptr;
  hash::Chunk* chunk = nullptr;
  FileWriterEntry* next = nullptr;
};

/// One URL into one file: written as `path` + ".part" by a writer thread, renamed once complete, removed otherwise.
class FetchFileJob : private StreamJob {
 public:
  explicit FetchFileJob(std::string path) : path_(std::move(path)), part_(path_ + ".part") {}
  ~FetchFileJob() override = default;

  Result<Unit> start(fetch::Fetcher& fetcher, const fetch::Request& request) {
    return StreamJob::start(fetcher, request);
  }
  void cancel() noexcept { StreamJob::cancel(); }

 protected:
  /// The last call. Errors of the file are kIo with the path. [writer thread]
  virtual void ended(Result<fetch::TransferInfo> result) noexcept = 0;

 private:
  friend class FileWriter;
  void on_chunk(hash::Chunk* chunk) noexcept final;
  void on_end(Result<fetch::TransferInfo> result) noexcept final;
  void write(hash::Chunk* chunk) noexcept;  // [writer thread]
  void close() noexcept;                    // [writer thread]
  void open_part() noexcept;                // [writer thread]
  void fail(const char* doing) noexcept;

  const std::string path_;
  const std::string part_;
  FileWriterEntry end_;  ///< the end must not be lost, nor overtake a chunk: so it needs no memory
  int fd_ = -1;
  std::atomic<bool> lost_{false};  ///< a chunk could not be handed to the writer
  Error error_;                    ///< of the file; what comes after it is dropped
  Result<fetch::TransferInfo> result_{Error(ErrorCode::kInternal, "the transfer has not ended")};
};

}  // namespace offloop::pipeline
