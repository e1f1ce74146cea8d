// Pictures from memory, files or URLs through a recipe, with the digests of what came in and what went out: one
// operation, and no byte of it in Python.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "offloop/fetch/collect.h"
#include "offloop/hash/digest.h"
#include "offloop/image/process.h"
#include "offloop/runtime/operation.h"

namespace offloop::pipeline {

struct PictureRequest {
  image::Recipe recipe;
  bool hash = false;            ///< SHA-256 of the input and of the result
  std::string save_to;          ///< the result goes to this file instead of into memory; "" for memory
  std::int64_t timeout_ns = 0;  ///< from start() on, fetching included; 0 for none
};

struct Picture {
  image::Processed image;  ///< its data is empty when it was saved
  std::uint64_t size = 0;  ///< bytes of the result
  std::uint64_t input_size = 0;
  std::optional<hash::Digest> digest;
  std::optional<hash::Digest> input_digest;
};

/// One picture on its way. Derive, start it once by one of the three; ended() is called exactly once for each start
/// that succeeded.
class PictureJob : private runtime::TaskWork, private runtime::Sink {
 public:
  explicit PictureJob(PictureRequest request);
  virtual ~PictureJob() = default;
  PictureJob(const PictureJob&) = delete;
  PictureJob& operator=(const PictureJob&) = delete;

  // Errors (kInvalidArgument, kInvalidUrl, kPoolClosed, kOutOfMemory): nothing was started. [any thread]

  /// `data` must live until ended(), or until cancel() said that it never ran.
  Result<Unit> start_bytes(ByteSpan data);
  /// A regular file, read whole on the worker: at most max_bytes. kIo with errno and path comes through ended().
  Result<Unit> start_file(std::string path);
  /// `fetcher` must live until ended(). The body is limited to max_bytes.
  Result<Unit> start_url(fetch::Fetcher& fetcher, fetch::Request request);

  /// True when it never ran and will not: the input is free at once. Else it ends with kStopped soon, unless it was
  /// faster. ended() comes in any case. [any thread, after start]
  bool cancel() noexcept;
  /// As start, on this thread; ended() has been called when it returns. [any thread]
  void run_here(ByteSpan data) noexcept;
  void run_file_here(std::string path) noexcept;

 protected:
  /// The last call: the job may be deleted in it. Must not block, must not throw. [worker, or I/O thread for what a
  /// transfer ended with]
  virtual void ended(Result<Picture> result) noexcept = 0;
  /// When it was submitted to the pool and began there, and on which worker: of a URL's picture, once its body had
  /// come. To be read once it has ended. [any thread]
  [[nodiscard]] const runtime::Work& work() const noexcept { return *this; }
  /// Monotonic: when a URL's transfer got a free place; 0 where none did. To be read once it has ended. [any
  /// thread]
  [[nodiscard]] std::int64_t transfer_started_ns() const noexcept { return transfer_started_ns_; }

 private:
  struct Body final : fetch::CollectJob {
    explicit Body(PictureJob& job) noexcept : owner(job) {}
    void on_started() noexcept override;
    void ended(Result<fetch::CollectedBody> result) noexcept override { owner.body_came(std::move(result)); }
    PictureJob& owner;
  };

  Result<Unit> submit() noexcept;
  void body_came(Result<fetch::CollectedBody> result) noexcept;                      // [I/O thread]
  void run_task() noexcept override;                                                 // [worker]
  void accept(runtime::PortItem* first, runtime::PortItem* last) noexcept override;  // [worker]
  Result<Picture> make(ByteSpan data) noexcept;
  Result<Picture> make_of_file() noexcept;

  PictureRequest request_;
  std::int64_t deadline_ns_ = 0;
  ByteSpan data_;
  std::string path_;
  bool from_file_ = false;
  std::optional<Body> body_;
  fetch::OwnedBytes fetched_;
  std::int64_t transfer_started_ns_ = 0;
  std::optional<Result<Picture>> result_;
};

/// For C++ programs: the whole as an operation. `data` must live until it has ended. [any thread]
Operation<Picture> process_picture(ByteSpan data, PictureRequest request);
Operation<Picture> process_picture_file(std::string path, PictureRequest request);
/// image::read_info() of a regular file. kIo besides. [any thread]
Operation<image::ImageInfo> read_picture_info(std::string path, image::Limits limits = {});

}  // namespace offloop::pipeline
