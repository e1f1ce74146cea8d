#include "fetch_cores.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <optional>

#include "offloop/pipeline/stream_body.h"
#include "offloop/runtime/clock.h"

namespace offloop::python {
namespace {

Converters g_converters{};

/// Ends through the port: one item, pushed once, by whichever thread ends the job.
class JobCore : public Core {
 public:
  explicit JobCore(FetcherHandle fetcher, std::string url) : hold_(std::move(fetcher)), url_(std::move(url)) {
    done_item_.self = this;
    done_item_.deliver = [](runtime::PortItem* item) { core_api()->deliver_core(static_cast<DoneItem*>(item)->self); };
  }

  StopResult stop() noexcept override {
    if (done_.load(std::memory_order_acquire)) return StopResult::kTooLate;
    request_cancel();
    return StopResult::kRequested;
  }
  [[nodiscard]] std::int64_t ended_ns() const noexcept override { return ended_ns_; }
  [[nodiscard]] CoreRun run() const noexcept override { return {submitted_ns_, started_ns_, 0}; }

 protected:
  virtual void request_cancel() noexcept = 0;
  /// The transfer got a free place, for the trace. Before publish(). [I/O thread]
  void left_queue() noexcept { started_ns_ = runtime::now_ns(); }
  /// It waits for nothing before it begins. Behind set_sink().
  void begins_at_once() noexcept { started_ns_ = submitted_ns_; }

  /// The last touch of this object by a native thread. [I/O thread, worker or writer]
  void publish() noexcept {
    ended_ns_ = runtime::now_ns();
    runtime::Sink* sink = sink_;
    done_.store(true, std::memory_order_release);
    sink->accept(&done_item_, &done_item_);
  }
  bool started(const Result<Unit>& result) {
    if (result.ok()) return true;
    set_fetch_error(result.error(), url_);
    return false;
  }
  void set_sink() noexcept {
    sink_ = port->port;
    submitted_ns_ = runtime::now_ns();
  }

  const FetcherHandle hold_;
  const std::string url_;

 private:
  struct DoneItem : runtime::PortItem {
    JobCore* self = nullptr;
  };
  DoneItem done_item_;
  runtime::Sink* sink_ = nullptr;
  std::int64_t submitted_ns_ = 0;
  std::int64_t started_ns_ = 0;
  std::int64_t ended_ns_ = 0;
  std::atomic<bool> done_{false};
};

class GetCore final : public JobCore, private fetch::CollectJob {
 public:
  GetCore(const FetcherHandle& fetcher, fetch::Request request, bool bytes_only)
      : JobCore(fetcher, request.url), request_(std::move(request)), bytes_only_(bytes_only) {}
  bool start() override {
    set_sink();
    return started(CollectJob::start(hold_->fetcher(), request_));
  }
  PyObject* take_value() override {
    if (!result_->ok()) {
      set_fetch_error(result_->error(), url_);
      return nullptr;
    }
    fetch::CollectedBody& collected = result_->value();
    if (bytes_only_) {
      const ByteSpan body = collected.body.span();
      return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(body.data()),
                                       static_cast<Py_ssize_t>(body.size()));
    }
    Response response{response_info(collected.info), std::make_shared<fetch::OwnedBytes>(std::move(collected.body))};
    return g_converters.response(std::move(response));
  }

 private:
  void request_cancel() noexcept override { CollectJob::cancel(); }
  void on_started() noexcept override { left_queue(); }
  void ended(Result<fetch::CollectedBody> result) noexcept override {
    result_.emplace(std::move(result));
    publish();
  }
  const fetch::Request request_;
  const bool bytes_only_;
  std::optional<Result<fetch::CollectedBody>> result_;
};

class HashCore final : public JobCore, private pipeline::FetchHashJob {
 public:
  HashCore(const FetcherHandle& fetcher, fetch::Request request, const hash::Algorithm& algorithm)
      : JobCore(fetcher, request.url), FetchHashJob(algorithm), request_(std::move(request)) {}
  bool start() override {
    set_sink();
    return started(FetchHashJob::start(*hold_, request_));
  }
  PyObject* take_value() override {
    if (!result_->ok()) {
      set_fetch_error(result_->error(), url_);
      return nullptr;
    }
    const pipeline::HashedBody& body = result_->value();
    HashedResponse response;
    static_cast<ResponseInfo&>(response) = response_info(body.info);
    response.digest.assign(reinterpret_cast<const char*>(body.digest.bytes), body.digest.size);
    return g_converters.hashed(std::move(response));
  }

 private:
  void request_cancel() noexcept override { FetchHashJob::cancel(); }
  void on_started() noexcept override { left_queue(); }
  void ended(Result<pipeline::HashedBody> result) noexcept override {
    result_.emplace(std::move(result));
    publish();
  }
  const fetch::Request request_;
  std::optional<Result<pipeline::HashedBody>> result_;
};

class StreamFileCore final : public JobCore, private pipeline::FetchFileJob {
 public:
  StreamFileCore(const FetcherHandle& fetcher, fetch::Request request, std::string path)
      : JobCore(fetcher, request.url), FetchFileJob(std::move(path)), request_(std::move(request)) {}
  bool start() override {
    set_sink();
    return started(FetchFileJob::start(hold_->fetcher(), request_));
  }
  PyObject* take_value() override {
    if (result_->ok()) return g_converters.info(response_info(result_->value()));
    if (result_->error().code == ErrorCode::kIo) {
      core_api()->set_error(result_->error());  // the file's, not the URL's
    } else {
      set_fetch_error(result_->error(), url_);
    }
    return nullptr;
  }

 private:
  void request_cancel() noexcept override { FetchFileJob::cancel(); }
  void on_started() noexcept override { left_queue(); }
  void ended(Result<fetch::TransferInfo> result) noexcept override {
    result_.emplace(std::move(result));
    publish();
  }
  const fetch::Request request_;
  std::optional<Result<fetch::TransferInfo>> result_;
};

/// The body goes to a Python callable on the loop, a chunk at a time, as a memoryview that is released after the call.
class StreamCallbackCore final : public JobCore, private pipeline::StreamJob {
 public:
  StreamCallbackCore(const FetcherHandle& fetcher, fetch::Request request, PyObject* callback)
      : JobCore(fetcher, request.url), request_(std::move(request)), callback_(Ref::to(callback)) {}
  bool start() override {
    set_sink();
    chunk_sink_ = port->port;
    return started(StreamJob::start(hold_->fetcher(), request_));
  }
  PyObject* take_value() override {
    if (exception_) {
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception_.get())), exception_.get());
      return nullptr;
    }
    if (result_->ok()) return g_converters.info(response_info(result_->value()));
    set_fetch_error(result_->error(), url_);
    return nullptr;
  }

 private:
  struct ChunkItem final : runtime::PortItem {
    StreamCallbackCore* self = nullptr;
    hash::Chunk* chunk = nullptr;
  };

  void on_chunk(hash::Chunk* chunk) noexcept override {  // [I/O thread]
    auto* item = new (std::nothrow) ChunkItem;
    if (item == nullptr) {
      out_of_memory_ = true;
      StreamJob::cancel();
      return chunk_done(chunk);
    }
    item->self = this;
    item->chunk = chunk;
    item->deliver = [](runtime::PortItem* delivered) {
      const std::unique_ptr<ChunkItem> owned(static_cast<ChunkItem*>(delivered));
      owned->self->show(owned->chunk);
    };
    chunk_sink_->accept(item, item);
  }

  void on_started() noexcept override { left_queue(); }
  void on_end(Result<fetch::TransferInfo> result) noexcept override {  // [I/O thread]
    result_.emplace(out_of_memory_
                        ? Result<fetch::TransferInfo>(Error(ErrorCode::kOutOfMemory, "out of memory for a chunk"))
                        : std::move(result));
    publish();  // behind the last chunk in the port, so nothing comes after it
  }

  void show(hash::Chunk* chunk) {  // [loop]
    if (owner == nullptr || exception_) return chunk_done(chunk);
    call_back(chunk);
    chunk_done(nullptr);  // the view has freed it, or whoever still looks at it will
  }

  void call_back(hash::Chunk* chunk) {
    const Ref view(g_converters.chunk(chunk));
    const Ref result(view ? PyObject_CallFunctionObjArgs(callback_.get(), view.get(), nullptr) : nullptr);
    if (!result) {
      exception_ = Ref(take_exception());
      StreamJob::cancel();
    }
    if (!view) return;
    // Frees the memory now, even if the view itself was kept. Fails when an array was made of it, which then keeps it
    // alive.
    const Ref released(PyObject_CallMethod(view.get(), "release", nullptr));
    if (!released) PyErr_Clear();
  }

  void request_cancel() noexcept override { StreamJob::cancel(); }

  const fetch::Request request_;
  const Ref callback_;
  Ref exception_;
  runtime::Sink* chunk_sink_ = nullptr;
  bool out_of_memory_ = false;
  std::optional<Result<fetch::TransferInfo>> result_;
};

/// Many URLs, at most max_concurrent on their way. Each job that ends starts the next, on its own thread.
class HashUrlsCore final : public JobCore {
 public:
  HashUrlsCore(const FetcherHandle& fetcher, std::vector<std::string> urls, unsigned max_concurrent, double timeout_s,
               bool stop_on_error)
      : JobCore(fetcher, {}),
        urls_(std::move(urls)),
        results_(urls_.size()),
        max_concurrent_(max_concurrent),
        timeout_s_(timeout_s),
        stop_on_error_(stop_on_error) {}

  bool start() override {
    set_sink();
    begins_at_once();
    running_ = 1;  // so that nothing ends before all of the first have been started
    for (unsigned i = 0; i < max_concurrent_ && start_next(); ++i) {
    }
    job_gone();
    return true;
  }

  PyObject* take_value() override {
    Ref list(PyList_New(static_cast<Py_ssize_t>(urls_.size())));
    if (!list) return nullptr;
    for (std::size_t i = 0; i < urls_.size(); ++i) {
      PyObject* item = result_object(i);
      if (item == nullptr || PyList_SetItem(list.get(), static_cast<Py_ssize_t>(i), item) < 0) return nullptr;
    }
    return list.release();
  }

 private:
  struct Job final : pipeline::FetchHashJob {
    Job(HashUrlsCore& owner, std::size_t position) noexcept
        : FetchHashJob(hash::Algorithm::sha256()), core(owner), index(position) {}
    void ended(Result<pipeline::HashedBody> result) noexcept override { core.job_ended(*this, std::move(result)); }
    HashUrlsCore& core;
    const std::size_t index;
    Job* previous = nullptr;  // in the list of running jobs, under HashUrlsCore::mutex_
    Job* next = nullptr;
  };

  /// False when there is nothing left to start. [loop at first, then I/O threads and workers]
  bool start_next() noexcept {
    while (true) {
      const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
      if (index >= urls_.size() || stopping_.load(std::memory_order_acquire)) return false;
      Job* job = new (std::nothrow) Job(*this, index);
      if (job == nullptr) {
        failed(index, out_of_memory());
        continue;
      }
      {
        const std::lock_guard lock(mutex_);
        job->next = jobs_;
        if (jobs_ != nullptr) jobs_->previous = job;
        jobs_ = job;
      }
      running_.fetch_add(1, std::memory_order_relaxed);
      Result<Unit> started = start(*job);
      if (started.ok()) {
        // A cancel_all() that came before the transfer had its name has not reached it.
        if (stopping_.load(std::memory_order_acquire)) cancel_all();
        return true;
      }
      failed(index, std::move(started).error());
      unlink(*job);
      delete job;
      job_gone();
    }
  }

  Result<Unit> start(Job& job) noexcept {
    try {
      fetch::Request request;
      request.url = urls_[job.index];
      request.timeout = timeout_s_;
      return job.start(*hold_, request);
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    }
  }

  static Error out_of_memory() noexcept {
    return runtime::task_error(ErrorCode::kOutOfMemory, "out of memory for a transfer");
  }

  void job_ended(Job& job, Result<pipeline::HashedBody> result) noexcept {
    if (result.ok()) {
      results_[job.index].emplace(result.value().digest);
    } else {
      failed(job.index, std::move(result).error());
    }
    unlink(job);
    delete &job;
    start_next();
    job_gone();
  }

  void failed(std::size_t index, Error error) noexcept {
    results_[index].emplace(std::move(error));
    if (stop_on_error_ && !stopping_.exchange(true, std::memory_order_acq_rel)) {
      cancel_all();
    }
  }

  void unlink(Job& job) noexcept {
    const std::lock_guard lock(mutex_);
    if (job.previous != nullptr) job.previous->next = job.next;
    if (job.next != nullptr) job.next->previous = job.previous;
    if (jobs_ == &job) jobs_ = job.next;
  }

  void cancel_all() noexcept {
    const std::lock_guard lock(mutex_);
    for (Job* job = jobs_; job != nullptr; job = job->next) job->cancel();
  }

  void request_cancel() noexcept override {
    stopping_.store(true, std::memory_order_release);
    cancel_all();
  }

  void job_gone() noexcept {
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) publish();
  }

  PyObject* result_object(std::size_t index) {
    const std::optional<Result<hash::Digest>>& result = results_[index];
    if (result.has_value() && result->ok()) {
      const std::string hex = result->value().hex();
      return PyUnicode_FromStringAndSize(hex.data(), static_cast<Py_ssize_t>(hex.size()));
    }
    if (!result.has_value() || result->error().code == ErrorCode::kStopped)
      Py_RETURN_NONE;  // ended because another one failed
    set_fetch_error(result->error(), urls_[index]);
    return take_exception();
  }

  const std::vector<std::string> urls_;
  std::vector<std::optional<Result<hash::Digest>>> results_;  // each written by the one thread that ended it
  const unsigned max_concurrent_;
  const double timeout_s_;
  const bool stop_on_error_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> running_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // guards the list of jobs; a job is cancelled only while it is in it
  Job* jobs_ = nullptr;
};

}  // namespace

void set_converters(const Converters& converters) noexcept {
  g_converters = converters;
}

ResponseInfo response_info(const fetch::TransferInfo& info) {
  ResponseInfo out;
  out.status = info.status;
  out.final_url = info.final_url;
  for (const auto& [name, value] : info.headers.list()) out.headers.emplace_back(name, value);
  out.redirects = info.redirects;
  out.peer_ip = info.peer_ip;
  out.http_version = info.http_version == 20 ? "2" : info.http_version == 10 ? "1.0" : "1.1";
  out.reused_connection = info.reused_connection;
  out.size = info.body_bytes;
  out.timings = info.timings;
  return out;
}

PyObject* start_get(const FetcherHandle& fetcher, fetch::Request request) {
  return core_api()->new_operation(new GetCore(fetcher, std::move(request), false), "get");
}
PyObject* start_get_bytes(const FetcherHandle& fetcher, fetch::Request request) {
  return core_api()->new_operation(new GetCore(fetcher, std::move(request), true), "fetch_url");
}
PyObject* start_hash(const FetcherHandle& fetcher, fetch::Request request, const hash::Algorithm& algorithm) {
  return core_api()->new_operation(new HashCore(fetcher, std::move(request), algorithm), "hash");
}
PyObject* start_stream_file(const FetcherHandle& fetcher, fetch::Request request, std::string path) {
  return core_api()->new_operation(new StreamFileCore(fetcher, std::move(request), std::move(path)), "stream");
}
PyObject* start_stream_callback(const FetcherHandle& fetcher, fetch::Request request, PyObject* callback) {
  return core_api()->new_operation(new StreamCallbackCore(fetcher, std::move(request), callback), "stream");
}
PyObject* start_hash_urls(const FetcherHandle& fetcher, std::vector<std::string> urls, unsigned max_concurrent,
                          double timeout_s, bool stop_on_error) {
  return core_api()->new_operation(new HashUrlsCore(fetcher, std::move(urls), max_concurrent, timeout_s, stop_on_error),
                                   "fetch_and_hash_urls");
}

}  // namespace offloop::python
