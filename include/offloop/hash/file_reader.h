// Files hashed while they are read: reader threads read blocks and feed streams of the pool. Pipes and terminals too;
// while they have no data they hold no reader.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "offloop/hash/digest.h"
#include "offloop/hash/piece_stream.h"

namespace offloop::hash {

/// One file on its way. Set it up, start(), and `ended` is called exactly once, unless the process ends first.
class FileJob : private PieceStream::Listener {
 public:
  FileJob(std::string path, const Algorithm& algorithm) noexcept : path_(std::move(path)), algorithm_(algorithm) {}
  virtual ~FileJob() = default;
  FileJob(const FileJob&) = delete;
  FileJob& operator=(const FileJob&) = delete;

  /// Queues the file; false when no reader thread can be had or the process is ending. [any thread]
  bool start() noexcept;
  /// Ends with kStopped at the next block, at once when it waits for data; a reader that is blocked in the disk is not
  /// waited for. [any thread]
  void request_stop() noexcept;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Monotonic: when a reader took it up. 0: not yet, or it ended without. Once it has ended. [any thread]
  [[nodiscard]] std::int64_t started_ns() const noexcept { return started_ns_; }

 protected:
  /// The last call; the job may be deleted in it. [worker or reader]
  virtual void ended(Result<Digest> result) noexcept = 0;

 private:
  friend class ReaderThreads;
  friend class FileWaiter;
  enum class Filled : std::uint8_t { kFull, kEnd, kNoData, kError };
  void on_consumed(std::size_t bytes) noexcept final;
  void on_end(runtime::Outcome outcome, const Digest& digest) noexcept final;
  /// Reads one block. True when it wants another turn now. [reader]
  bool read_block() noexcept;
  bool open() noexcept;
  Filled fill(Chunk& chunk) noexcept;
  void wait_for_data(Chunk* chunk) noexcept;
  void free_partial() noexcept;
  void fail(int error, const char* doing) noexcept;
  void set_failure(ErrorCode code, int error, const char* doing) noexcept;
  void close_file() noexcept;

  const std::string path_;
  const Algorithm& algorithm_;
  FileJob* next_ = nullptr;  ///< link in the readers' queue
  PieceStream* stream_ = nullptr;
  Chunk* partial_ = nullptr;  ///< read so far of a block whose rest has not come yet
  int fd_ = -1;
  bool is_pipe_ = false;
  bool idle_ = false;  ///< waits for data without a place among the open files; guarded by the readers' mutex
  std::uint64_t known_size_ = 0;  ///< of a regular file when it was opened; 0 = read to the end
  std::uint64_t offset_ = 0;
  std::int64_t started_ns_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<bool> waiting_{false};  ///< with the FileWaiter
  std::atomic<bool> parked_{false};   ///< enough blocks are on their way: who sets it back to false queues the job
  Error error_;                       ///< why the stream was aborted
};

}  // namespace offloop::hash
