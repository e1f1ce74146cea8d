// One transfer on its I/O thread: hop by hop to its end.
#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "fetch/answer.h"
#include "fetch/curl_errors.h"
#include "fetch/io_thread.h"

namespace offloop::fetch {
namespace {

constexpr auto kResolveListAge = std::chrono::seconds(45);  // of the 60 that libcurl keeps an entry (easy_slot.cpp)
constexpr unsigned kMaxDeadConnections = 10;                // with libcurl's own five each: more is no coincidence

std::int64_t ns(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// Milliseconds for libcurl, at least 1 because 0 means "no limit" there; 0 for "none".
long limit_ms(Clock::duration duration) {
  if (duration == Clock::duration::max()) return 0;
  return std::max<long>(1, static_cast<long>(std::chrono::ceil<std::chrono::milliseconds>(duration).count()));
}

Clock::duration duration_of(double value_s) {
  if (std::isinf(value_s)) return Clock::duration::max();
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value_s));
}

curl_off_t curl_time_us(CURL* easy, CURLINFO what) {
  curl_off_t value = 0;
  curl_easy_getinfo(easy, what, &value);
  return value;
}

/// "Out of memory" is what libcurl up to 8.5 also says when a header line outgrows its buffer. It is that when bytes of
/// an answer have come, its head is not complete, and malloc did not fail.
bool is_long_line(const Transfer& t, CURL* easy) {
  return !t.head_done && curl_time_us(easy, CURLINFO_STARTTRANSFER_TIME_T) != 0;
}

}  // namespace

void IoThread::begin(Transfer* t) {
  const auto now = Clock::now();
  const auto waited = now - t->queued_at;
  t->queue_time += waited;
  if (!t->started) {
    t->started = true;
    t->started_at = now;
    t->deadline = t->timeout == Clock::duration::max() ? Clock::time_point::max() : now + t->timeout;
    t->url = t->first_url;
    t->consumer->on_started();
  } else if (t->deadline != Clock::time_point::max()) {
    t->deadline += waited;  // a redirect that had to queue for its new host: waiting for ourselves does not count
  }
  begin_hop(t);
}

void IoThread::begin_hop(Transfer* t) {
  t->hop_at = Clock::now();
  t->dns_time = {};
  const Proxy* proxy = context_.config.proxy.for_url(t->url);
  if (proxy != nullptr ? proxy->literal : t->url.literal) return load(t, nullptr);

  const auto resolution = context_.resolver.resolve(proxy != nullptr ? proxy->host : t->url.host, t->id, mailbox_);
  if (resolution) return load(t, resolution.get());
  t->phase = Transfer::Phase::kResolving;
  const Clock::duration connect = duration_of(context_.config.options.connect_timeout);
  const auto deadline = connect == Clock::duration::max() ? t->deadline : std::min(t->deadline, t->hop_at + connect);
  t->lookup_deadline = deadline;
  if (deadline != Clock::time_point::max()) lookup_deadlines_.emplace(deadline, t->id);
}

/// Gives the hop to libcurl. `resolution` is null for a literal address.
void IoThread::load(Transfer* t, const Resolution* resolution) {
  t->phase = Transfer::Phase::kIdle;
  if (resolution != nullptr && resolution->addresses.empty()) {
    if (resolution->out_of_memory) throw std::bad_alloc();
    return fail(t, Error(ErrorCode::kDns, "host name cannot be resolved: " + resolution->failure, {},
                         resolution->temporary ? EAI_AGAIN : EAI_NONAME));
  }
  Clock::duration total = Clock::duration::max();
  Clock::duration connect = duration_of(context_.config.options.connect_timeout);
  if (t->deadline != Clock::time_point::max()) {
    // The first hop of most transfers: exactly the option, so that nothing needs to be set again.
    total = t->redirects == 0 && t->dns_time == Clock::duration{} ? t->timeout : t->deadline - Clock::now();
  }
  if (connect != Clock::duration::max()) connect -= t->dns_time;
  if (total <= Clock::duration{}) return fail(t, timeout_error(*t, nullptr));

  const Proxy* proxy = context_.config.proxy.for_url(t->url);
  std::shared_ptr<const Slist> list;
  if (resolution != nullptr) {
    list = proxy != nullptr ? resolve_list(t, proxy->host, proxy->port, *resolution)
                            : resolve_list(t, t->url.host, t->url.port, *resolution);
  }
  EasySlot* slot = make_multi() ? take_slot() : nullptr;
  if (slot == nullptr) throw std::bad_alloc();
  t->slot = slot;
  t->phase = Transfer::Phase::kLoading;
  const long connect_ms = connect == Clock::duration::max() ? 0 : limit_ms(connect);
  if (!slot->prepare(t, proxy, std::move(list), limit_ms(total), connect_ms)) {
    slot->broken = true;
    throw std::bad_alloc();
  }
  t->paused = false;
  if (const CURLMcode code = curl_multi_add_handle(multi_, slot->easy); code != CURLM_OK) {
    slot->broken = true;
    if (code == CURLM_OUT_OF_MEMORY) throw std::bad_alloc();
    return fail(t, Error(ErrorCode::kInternal, curl_multi_strerror(code)));
  }
  slot->in_multi = true;
}

void IoThread::expire_lookups() {
  while (!lookup_deadlines_.empty() && lookup_deadlines_.begin()->first <= Clock::now()) {
    Transfer* t = context_.admission.find(lookup_deadlines_.begin()->second);
    lookup_deadlines_.erase(lookup_deadlines_.begin());
    if (t == nullptr) continue;
    const bool total = t->deadline <= Clock::now();
    const double limit = total ? seconds(t->timeout) : context_.config.options.connect_timeout;
    fail(t, Error(ErrorCode::kFetchTimeout, seconds_text(limit) + " while resolving the name", {},
                  CURLE_OPERATION_TIMEDOUT));
  }
}

void IoThread::resume(Transfer* t) {
  if (!t->paused || t->slot == nullptr) return;
  t->paused = false;
  // May call on_body at once, which may pause again. An error is not reported by a message, so it is handled here.
  const CURLcode code = curl_easy_pause(t->slot->easy, CURLPAUSE_CONT);
  if (code == CURLE_OUT_OF_MEMORY) multi_failed_ = true;
  if (code != CURLE_OK) hop_done(t->slot, code);
}

void IoThread::hop_done(EasySlot* slot, CURLcode code) {
  Transfer* t = slot->transfer;
  if (const auto given = std::exchange(t->resolve_given, nullptr); given && t->got_bytes) {
    given->fresh_until = t->hop_at + kResolveListAge;  // an answer came, so libcurl had read the list
  }
  const bool useless = t->head_done && t->discard && !t->failure;
  if (useless && t->status < 400) {
    drop_slot(t);
    return follow(t);
  }
  if (useless) {
    return fail(t, Error(ErrorCode::kHttpStatus, "HTTP status " + std::to_string(t->status), {}, t->status));
  }
  if (try_another_connection(t, code)) return;
  if (code == CURLE_OK && !t->failure) t->failure = missing_end(*t);
  if (code != CURLE_OK || t->failure) return fail(t, failure_of(*t, *slot, code));
  finish(t, info_of(*t, slot->easy));
}

/// A server may close a kept-alive connection in the moment when it is used again. libcurl then repeats the request by
/// itself, but it counts how often over the whole life of the handle and gives up at five (7.88): so begin the hop
/// again with the count set back. Nothing of an answer had come, and GET and HEAD may be repeated.
bool IoThread::try_another_connection(Transfer* t, CURLcode code) {
  if ((code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR) || t->got_bytes || t->failure) return false;
  long opened = 0;
  curl_easy_getinfo(t->slot->easy, CURLINFO_NUM_CONNECTS, &opened);
  if (opened != 0 || ++t->dead_connections > kMaxDeadConnections) return false;
  t->slot->broken = true;  // to be reset
  drop_slot(t);
  begin_hop(t);
  return true;
}

void IoThread::follow(Transfer* t) {
  const unsigned limit = context_.config.options.max_redirects;
  if (t->redirects >= limit) {
    return fail(t, Error(ErrorCode::kTooManyRedirects, "more than " + std::to_string(limit) + " redirects", {},
                         CURLE_TOO_MANY_REDIRECTS));
  }
  Result<Url> next = join_url(t->url, t->headers.find("location"));
  if (!next) {
    return fail(t, Error(ErrorCode::kTooManyRedirects, "redirect to a URL that is not allowed: " +
                                                           next.error().message + ": " + next.error().context));
  }
  ++t->redirects;
  t->url = std::move(next).value();
  t->headers.clear();
  t->status = 0;
  t->head_done = t->discard = t->got_bytes = false;
  t->head_bytes = 0;
  t->discarded = 0;
  t->refused = nullptr;
  t->socket_error = 0;

  Burst ready;
  const bool at_once = context_.admission.move_to_host(t, t->url.host, ready);
  hand_over(ready);
  if (at_once) begin_hop(t);
}

Error IoThread::timeout_error(const Transfer& t, CURL* easy) const {
  const FetcherOptions& options = context_.config.options;
  const auto with = [](std::string text) {
    return Error(ErrorCode::kFetchTimeout, std::move(text), {}, CURLE_OPERATION_TIMEDOUT);
  };
  // libcurl's clock and ours differ by less than a millisecond and its limits are whole milliseconds.
  if (easy == nullptr || t.deadline <= Clock::now() + std::chrono::milliseconds(2))
    return with(seconds_text(seconds(t.timeout)));
  if (curl_time_us(easy, CURLINFO_PRETRANSFER_TIME_T) == 0) {
    return with(seconds_text(options.connect_timeout) + " while connecting");
  }
  return with(seconds_text(options.low_speed_time) + " below " + std::to_string(options.low_speed_bytes) +
              " bytes per second");
}

Error IoThread::failure_of(Transfer& t, EasySlot& slot, CURLcode code) const {
  if (t.failure) return *std::move(t.failure);
  if (t.refused != nullptr && code == CURLE_COULDNT_CONNECT) {
    return Error(ErrorCode::kBlockedAddress,
                 std::string("address ") + t.refused_address + " is not allowed: " + t.refused, {}, code);
  }
  if (t.socket_error == ENOMEM && code == CURLE_COULDNT_CONNECT) return Error(ErrorCode::kOutOfMemory, "out of memory");
  if (t.socket_error != 0 && code == CURLE_COULDNT_CONNECT) {
    return Error(ErrorCode::kConnect, "no socket: " + std::system_category().message(t.socket_error), {}, code);
  }
  if (code == CURLE_OPERATION_TIMEDOUT) return timeout_error(t, slot.easy);
  if (code == CURLE_OUT_OF_MEMORY && !no_memory_ && is_long_line(t, slot.easy))
    return Error(ErrorCode::kFetch, "a header line is longer than 100 KiB", {}, code);
  Error error = error_from_curl(code, slot.message, t.got_bytes);
  // libcurl has other codes, too, for memory that it or OpenSSL does not get.
  if (no_memory_ && (error.code == ErrorCode::kDns || error.code == ErrorCode::kTls || error.code == ErrorCode::kFetch))
    error.code = ErrorCode::kOutOfMemory;
  return error;
}

TransferInfo IoThread::info_of(Transfer& t, CURL* easy) const {
  TransferInfo info;
  info.status = t.status;
  info.redirects = t.redirects;
  info.headers = std::move(t.headers);
  info.final_url = std::move(t.url.text);
  info.body_bytes = t.body_bytes;
  const char* ip = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK && ip != nullptr) info.peer_ip = ip;
  long version = 0;
  curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
  info.http_version = version == CURL_HTTP_VERSION_1_0 ? 10 : version == CURL_HTTP_VERSION_2_0 ? 20 : 11;
  long connects = 0;
  curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
  info.reused_connection = connects == 0;

  Timings& timings = info.timings;
  timings.queue_ns = ns(t.queue_time);
  timings.dns_ns = ns(t.dns_time);
  if (connects != 0) {
    timings.connect_ns = curl_time_us(easy, CURLINFO_CONNECT_TIME_T) * 1000 + timings.dns_ns;
    const curl_off_t tls_us = curl_time_us(easy, CURLINFO_APPCONNECT_TIME_T);
    timings.tls_ns = tls_us != 0 ? tls_us * 1000 + timings.dns_ns : 0;
  }
  timings.first_byte_ns = curl_time_us(easy, CURLINFO_STARTTRANSFER_TIME_T) * 1000 + timings.dns_ns;
  timings.total_ns = ns(Clock::now() - t.started_at);
  return info;
}

void IoThread::fail(Transfer* t, Error error) noexcept {
  try {
    if (error.context.empty()) {
      error.context = t->first_url.has_userinfo ? redact_url(t->first_url.text) : t->first_url.text;
    }
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): the code says what to do
  }
  finish(t, std::move(error));
}

void IoThread::finish(Transfer* t, Result<TransferInfo> result) noexcept {
  if (t->phase == Transfer::Phase::kResolving) lookup_deadlines_.erase({t->lookup_deadline, t->id});
  drop_slot(t);
  called_consumer = true;
  IoCounters::bump(counters_.body_bytes, t->body_bytes);
  IoCounters::bump(result.ok()                                  ? counters_.done
                   : result.error().code == ErrorCode::kStopped ? counters_.stopped
                                                                : counters_.failed);
  // The place is given back first, so that whoever is woken by on_done sees it free in stats().
  Burst ready;
  const std::unique_ptr<Transfer> owned = context_.admission.release(t, ready);
  hand_over(ready);
  try {
    t->consumer->on_done(std::move(result));
  } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell
  }
}

}  // namespace offloop::fetch
