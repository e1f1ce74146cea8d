#include "image_cores.h"

#include <atomic>
#include <new>
#include <optional>

#include "buffer.h"
#include "offloop/runtime/clock.h"

namespace offloop::python {
namespace {

PictureConverters g_converters{};

/// A picture's own error is about the file, when it came from one.
void set_picture_error(const Error& error) {
  if (error.code == ErrorCode::kIo) return core_api()->set_file_error(error);
  core_api()->set_error(error);
}

/// Ends through the port: one item, pushed once, by the thread that ends the job.
class PictureCore : public Core, protected pipeline::PictureJob {
 public:
  PictureCore(pipeline::PictureRequest request, bool bytes_only)
      : PictureJob(std::move(request)), bytes_only_(bytes_only) {
    done_item_.self = this;
    done_item_.deliver = [](runtime::PortItem* item) { core_api()->deliver_core(static_cast<DoneItem*>(item)->self); };
  }

  StopResult stop() noexcept override {
    if (done_.load(std::memory_order_acquire)) return StopResult::kTooLate;
    if (!PictureJob::cancel()) return StopResult::kRequested;
    never_ran();
    return StopResult::kNeverRan;
  }
  [[nodiscard]] std::int64_t ended_ns() const noexcept override { return ended_ns_; }
  [[nodiscard]] CoreRun run() const noexcept override {
    return {work().submitted_ns, work().started_ns, work().worker};
  }

  PyObject* take_value() override {
    never_ran();  // the input is not needed any more
    if (!result_->ok()) {
      failed(result_->error());
      return nullptr;
    }
    pipeline::Picture& picture = result_->value();
    if (!bytes_only_) return g_converters.picture(std::move(picture));
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(picture.image.data.data()),
                                     static_cast<Py_ssize_t>(picture.image.data.size()));
  }

 protected:
  /// Lets go of the input.
  virtual void never_ran() noexcept {}
  virtual void failed(const Error& error) { set_picture_error(error); }
  bool started(Result<Unit> result) {
    if (result.ok()) return true;
    failed(result.error());
    return false;
  }
  void set_sink() noexcept { sink_ = port->port; }

 private:
  void ended(Result<pipeline::Picture> result) noexcept override {  // [worker, I/O thread, or the loop for run_here()]
    result_.emplace(std::move(result));
    ended_ns_ = runtime::now_ns();
    if (sink_ == nullptr) return;  // run_here(): take_value() follows
    runtime::Sink* sink = sink_;
    done_.store(true, std::memory_order_release);
    sink->accept(&done_item_, &done_item_);
  }

  struct DoneItem : runtime::PortItem {
    PictureCore* self = nullptr;
  };
  DoneItem done_item_;
  const bool bytes_only_;
  runtime::Sink* sink_ = nullptr;
  std::int64_t ended_ns_ = 0;
  std::atomic<bool> done_{false};
  std::optional<Result<pipeline::Picture>> result_;
};

class BufferPictureCore final : public PictureCore {
 public:
  using PictureCore::PictureCore;
  Buffer buffer;

  bool start() override {
    if (!buffer.acquire()) return false;
    set_sink();
    if (started(start_bytes(buffer.span()))) return true;
    buffer.release();
    return false;
  }
  bool run_here() override {
    if (!buffer.acquire()) {
      PyErr_Clear();
      return false;
    }
    PictureJob::run_here(buffer.span());
    return true;
  }
  void drop_input() noexcept override { buffer.release(); }

 private:
  void never_ran() noexcept override { buffer.release(); }
};

class FilePictureCore final : public PictureCore {
 public:
  FilePictureCore(std::string path, pipeline::PictureRequest request, bool bytes_only)
      : PictureCore(std::move(request), bytes_only), path_(std::move(path)) {}
  bool start() override {
    set_sink();
    return started(start_file(path_));
  }
  bool run_here() override {
    run_file_here(path_);
    return true;
  }

 private:
  const std::string path_;
};

/// Runs from the moment on at which its transfer has a free place.
class UrlPictureCore final : public PictureCore {
 public:
  UrlPictureCore(FetcherHandle fetcher, std::string url, pipeline::PictureRequest request, bool bytes_only)
      : PictureCore(std::move(request), bytes_only), hold_(std::move(fetcher)), url_(std::move(url)) {}
  [[nodiscard]] CoreRun run() const noexcept override { return {submitted_ns_, transfer_started_ns(), 0}; }
  bool start() override {
    set_sink();
    submitted_ns_ = runtime::now_ns();
    fetch::Request request;
    request.url = url_;
    return started(start_url(hold_->fetcher(), std::move(request)));
  }

 private:
  void failed(const Error& error) override {
    switch (error.code) {
      case ErrorCode::kImage:
      case ErrorCode::kImageLimit:
      case ErrorCode::kUnsupportedFormat:
      case ErrorCode::kDecoderCrash:
      case ErrorCode::kTimeout:
      case ErrorCode::kIo:
        return set_picture_error(error);
      default:
        return set_fetch_error(error, url_);
    }
  }
  const FetcherHandle hold_;
  const std::string url_;
  std::int64_t submitted_ns_ = 0;
};

/// A function on the pool. Its operation lives as long as the core: it knows when it ran.
template <class T>
class SpawnedCore : public Core, protected runtime::PortItem {
 public:
  SpawnedCore() {
    deliver = [](runtime::PortItem* item) { core_api()->deliver_core(static_cast<SpawnedCore*>(item)); };
  }
  [[nodiscard]] std::int64_t ended_ns() const noexcept override { return work() == nullptr ? 0 : work()->ended_ns; }
  [[nodiscard]] CoreRun run() const noexcept override {
    return work() == nullptr ? CoreRun{} : CoreRun{work()->submitted_ns, work()->started_ns, work()->worker};
  }

 protected:
  /// It runs from now on and comes back: what it reads must stay, so nothing may fail here.
  void started(Operation<T> operation) noexcept {
    sink_ = port->port;
    operation_.emplace(std::move(operation));
    operation_->on_done(
        [](void* self) noexcept {  // [worker]
          auto* core = static_cast<SpawnedCore*>(self);
          core->sink_->accept(core, core);
        },
        this);
  }
  [[nodiscard]] Operation<T>& operation() noexcept { return *operation_; }
  /// Once it has come back.
  [[nodiscard]] Result<T> result() { return operation_->get(); }

 private:
  [[nodiscard]] const runtime::Work* work() const noexcept {
    return operation_.has_value() ? operation_->work() : nullptr;
  }
  runtime::Sink* sink_ = nullptr;
  std::optional<Operation<T>> operation_;
};

/// Reading a header takes microseconds, but a file may be on a slow disk, and a JPEG's scans are counted.
class InfoCore final : public SpawnedCore<image::ImageInfo> {
 public:
  InfoCore(image::Limits limits, std::string path) : limits_(limits), path_(std::move(path)) {}
  Buffer buffer;
  bool from_file = false;

  bool start() override {
    if (!from_file && !buffer.acquire()) return false;
    try {
      started(from_file ? pipeline::read_picture_info(path_, limits_)
                        : spawn([span = buffer.span(), limits = limits_](StopToken) {
                            return image::read_info(span, limits);
                          }));
      return true;
    } catch (const std::bad_alloc&) {
      buffer.release();
      PyErr_NoMemory();
      return false;
    }
  }
  StopResult stop() noexcept override { return StopResult::kRequested; }
  void drop_input() noexcept override { buffer.release(); }
  PyObject* take_value() override {
    buffer.release();
    Result<image::ImageInfo> info = result();
    if (info.ok()) return g_converters.info(std::move(info.value()));
    set_picture_error(info.error());
    return nullptr;
  }

 private:
  const image::Limits limits_;
  const std::string path_;
};

/// Stopped between two pictures.
class SheetCore final : public SpawnedCore<pipeline::Picture> {
 public:
  explicit SheetCore(pipeline::SheetRequest request) : request_(std::move(request)) {}

  bool start() override {
    try {
      started(pipeline::make_sheet(std::move(request_)));
      return true;
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
      return false;
    }
  }
  StopResult stop() noexcept override {
    operation().request_stop();
    return StopResult::kRequested;
  }
  PyObject* take_value() override {
    Result<pipeline::Picture> sheet = result();
    if (sheet.ok()) return g_converters.picture(std::move(sheet.value()));
    set_picture_error(sheet.error());
    return nullptr;
  }

 private:
  pipeline::SheetRequest request_;
};

template <class Make>
PyObject* operation_of(const char* name, Make make) {
  try {
    auto* core = make();
    return core == nullptr ? nullptr : core_api()->new_operation(core, name);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

/// Null with an exception set when the object is no buffer.
template <class BufferCore>
BufferCore* holding(BufferCore* core, PyObject* data) {
  if (core->buffer.hold(data)) return core;
  delete core;
  return nullptr;
}

}  // namespace

void set_picture_converters(const PictureConverters& converters) noexcept {
  g_converters = converters;
}

PyObject* start_picture(PyObject* data, pipeline::PictureRequest request, bool bytes_only, const char* name) {
  return operation_of(name, [&] { return holding(new BufferPictureCore(std::move(request), bytes_only), data); });
}
PyObject* start_picture_file(std::string path, pipeline::PictureRequest request, bool bytes_only, const char* name) {
  return operation_of(name, [&] { return new FilePictureCore(std::move(path), std::move(request), bytes_only); });
}
PyObject* start_picture_url(const FetcherHandle& fetcher, std::string url, pipeline::PictureRequest request,
                            bool bytes_only, const char* name) {
  return operation_of(name,
                      [&] { return new UrlPictureCore(fetcher, std::move(url), std::move(request), bytes_only); });
}
PyObject* start_info(PyObject* data, image::Limits limits) {
  return operation_of("info", [&] { return holding(new InfoCore(limits, {}), data); });
}
PyObject* start_info_file(std::string path, image::Limits limits) {
  return operation_of("info", [&] {
    auto* core = new InfoCore(limits, std::move(path));
    core->from_file = true;
    return core;
  });
}

PyObject* start_sheet(pipeline::SheetRequest request) {
  return operation_of("sheet", [&] { return new SheetCore(std::move(request)); });
}

}  // namespace offloop::python
