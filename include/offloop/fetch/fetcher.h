// Many HTTP transfers at once on few I/O threads.
//
// Threads: Fetcher's functions may be called from any thread, also from inside a consumer's callback. Callbacks of one
// transfer come from one I/O thread, never two at a time; they must not block, because every other transfer of that
// thread waits meanwhile. I/O threads start with the first transfer and run with all signals blocked. After fork() the
// child cannot use its parent's Fetcher: start() answers kPoolClosed, destruction only closes descriptors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/fetch/headers.h"
#include "offloop/fetch/options.h"
#include "offloop/fetch/url.h"

namespace offloop::fetch {

/// Names one transfer of one Fetcher; never reused, 0 is none.
using TransferId = std::uint64_t;

struct Timings {
  std::int64_t queue_ns = 0;       ///< waiting for a free place
  std::int64_t dns_ns = 0;         ///< of the last hop, like the next three
  std::int64_t connect_ns = 0;     ///< from the hop's start to the TCP connection; 0 on a kept-alive one
  std::int64_t tls_ns = 0;         ///< to the end of the TLS handshake; 0 without TLS or on a kept-alive connection
  std::int64_t first_byte_ns = 0;  ///< to the first byte of the answer
  std::int64_t total_ns = 0;       ///< from leaving the queue to the last byte, over all hops
};

/// The answer's head. References end with the call of on_response.
struct ResponseHead {
  int status = 0;
  const std::string& final_url;  ///< after redirects
  const HeaderBlock& headers;
  std::int64_t content_length = -1;  ///< bytes on_body will get, -1 when unknown (chunked, compressed)
};

/// What a transfer was, when it ended well.
struct TransferInfo {
  int status = 0;
  unsigned redirects = 0;
  HeaderBlock headers;
  std::string final_url;
  std::string peer_ip;
  int http_version = 0;  ///< 10, 11, 20
  bool reused_connection = false;
  std::uint64_t body_bytes = 0;  ///< decoded, as given to on_body
  Timings timings;
};

enum class Flow : std::uint8_t {
  kContinue,  ///< the bytes were taken
  kPause,     ///< the bytes were NOT taken; they come again after Fetcher::resume()
  kAbort,     ///< end this transfer with kStopped
};

/// Receives one transfer. Must live until on_done has returned. All calls [I/O thread].
class BodyConsumer {
 public:
  virtual ~BodyConsumer() = default;

  /// The transfer's name, before any other call and before start() returns: by then the consumer may be gone. Called
  /// under the Fetcher's lock: only store it. [thread of start()]
  virtual void on_accepted(TransferId id) { (void)id; }

  /// Once, when it leaves the queue for a free place; never for one that ends in the queue. Must not throw.
  virtual void on_started() {}

  /// At most once, after redirects. With fail_on_status a status of 400 or above comes here too, but no body follows.
  virtual void on_response(const ResponseHead& head) { (void)head; }

  /// Decoded bytes in order. They belong to libcurl and end with the call. Never empty.
  virtual Flow on_body(ByteSpan bytes) = 0;

  /// Exactly once for every accepted transfer, always the last call. The consumer may destroy itself in it. What it
  /// throws is lost.
  virtual void on_done(Result<TransferInfo> result) = 0;
};

/// Told by each I/O thread when it has handled all events of an epoll round in which at least one callback was made:
/// the time to pass on what has been gathered as one batch. [I/O thread]
class RoundObserver {
 public:
  virtual ~RoundObserver() = default;
  virtual void on_round_end(unsigned io_thread) = 0;
};

enum class Method : std::uint8_t { kGet, kHead };

struct Request {
  std::string url;
  Method method = Method::kGet;
  std::vector<Header> headers;    ///< replace the Fetcher's of the same name; credentials never leave their origin
  std::optional<double> timeout;  ///< seconds, instead of the Fetcher's
  std::optional<std::uint64_t> max_body;  ///< instead of the Fetcher's
};

/// A moment's counts. `queued + running` are accepted and not done.
struct FetcherStats {
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  std::uint64_t stopped = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t connections_opened = 0;
  std::uint64_t lookups = 0;  ///< names given to the resolver
  std::uint64_t wakes = 0;    ///< rounds of the I/O threads, each after a wait for events: idle ones add nothing
};

class Core;

class Fetcher {
 public:
  /// kInvalidArgument as validate(); kIo when descriptors could not be had, kOutOfMemory. Starts no thread.
  static Result<std::unique_ptr<Fetcher>> create(FetcherOptions options);

  /// close(true, 250 ms).
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  /// Queues a transfer. An error (kInvalidUrl, kInvalidArgument, kPoolClosed, kOutOfMemory) means that nothing was
  /// queued and the consumer will not be called. [any thread]
  Result<TransferId> start(const Request& request, BodyConsumer* consumer);

  struct Start {
    Request request;
    BodyConsumer* consumer = nullptr;
  };
  /// As start(), with one lock for all and few wakes. One result an entry, in order. Throws std::bad_alloc only when
  /// nothing was queued. [any thread]
  std::vector<Result<TransferId>> start_many(const std::vector<Start>& starts);

  /// The transfer ends with kStopped soon: a queued one never runs, a running one's connection is closed. Nothing
  /// happens when it has already ended. Returns at once. [any thread]
  void cancel(TransferId id) noexcept;
  void cancel_many(const std::vector<TransferId>& ids) noexcept;

  /// Goes on after Flow::kPause; nothing happens when the transfer is not paused. [any thread]
  void resume(TransferId id) noexcept;

  /// Takes no more, ends everything with kStopped, ends the I/O threads. With `wait`, returns when every on_done has
  /// returned and the threads have ended, or false after `timeout_s`; what still runs then is left alone and frees
  /// itself. Called on an I/O thread it never waits. A second call is allowed. [any thread]
  bool close(bool wait = true, double timeout_s = 0.25);

  FetcherStats stats() const;

  /// Before the first start(); must live until close() has returned true.
  void set_round_observer(RoundObserver* observer);

  const FetcherOptions& options() const noexcept;

 private:
  explicit Fetcher(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

/// Closes every Fetcher of the process, each bounded as its destructor is. Runs at exit by itself, before OpenSSL's
/// clean-up; a runtime with an order of its own may call it earlier. [any thread]
void close_all_fetchers();

}  // namespace offloop::fetch
