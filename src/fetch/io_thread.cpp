#include "fetch/io_thread.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <string>

#include "fetch/curl_errors.h"

namespace offloop::fetch {
namespace {

constexpr int kEvents = 256;        // a round: enough to gather a batch, few enough to stay in cache
constexpr int kMaxInnerRounds = 8;  // then look at the sockets again
constexpr std::size_t kMaxResolveLists = 4096;
constexpr long kIdleConnections = 64;  // kept beside those in use

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

void bump(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {  // one writer: no locked instruction
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

std::unique_ptr<IoThread> IoThread::create(unsigned index, IoContext context) {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) return nullptr;
  CURLM* multi = curl_multi_init();
  if (multi == nullptr) {
    ::close(epoll_fd);
    errno = ENOMEM;
    return nullptr;
  }
  return std::unique_ptr<IoThread>(new IoThread(index, context, epoll_fd, multi));
}

IoThread::IoThread(unsigned index, IoContext context, int epoll_fd, CURLM* multi)
    : index_(index),
      context_(context),
      epoll_fd_(epoll_fd),
      multi_(multi),
      poll_(epoll_fd),
      mailbox_(context.mailboxes[index]) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = mailbox_->event_fd();
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, mailbox_->event_fd(), &event);

  const FetcherOptions& options = context_.config.options;
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &IoThread::socket_callback);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &IoThread::timer_callback);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options.max_concurrent) + kIdleConnections);
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, options.http2 ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
}

IoThread::~IoThread() {
  clean_up();
}

void IoThread::clean_up() {
  if (multi_ == nullptr) return;
  for (const auto& slot : slots_) {
    if (slot->in_multi) curl_multi_remove_handle(multi_, slot->easy);
  }
  slots_.clear();
  free_slots_.clear();
  curl_multi_cleanup(std::exchange(multi_, nullptr));
  ::close(epoll_fd_.exchange(-1));
}

void IoThread::close_in_child() noexcept {
  if (const int fd = epoll_fd_.exchange(-1); fd >= 0) ::close(fd);
  ::close(mailbox_->event_fd());
  poll_.descriptors().close_all();
}

void IoThread::socket_opened(curl_socket_t fd) {
  poll_.opened(fd);
  bump(counters_.connections_opened);
}

void IoThread::socket_closed(curl_socket_t fd) {
  poll_.closed(fd);
}

int IoThread::socket_callback(CURL*, curl_socket_t fd, int what, void* user, void*) {
  static_cast<IoThread*>(user)->poll_.want(fd, what);
  return 0;
}

int IoThread::timer_callback(CURLM*, long timeout_ms, void* user) {
  auto* self = static_cast<IoThread*>(user);
  if (timeout_ms < 0)
    self->curl_timer_ = Clock::time_point::max();
  else if (timeout_ms == 0)
    self->curl_timer_ = Clock::time_point::min();
  else
    self->curl_timer_ = Clock::now() + std::chrono::milliseconds(timeout_ms);
  return 0;
}

// ---- the loop

void IoThread::run() {
  mailbox_->set_reader();
  pthread_setname_np(pthread_self(), ("offloop-io-" + std::to_string(index_)).c_str());
  while (!stopping_) {
    wait_for_events();
    int rounds = 0;
    do {
      work_round();
    } while (!stopping_ && ++rounds < kMaxInnerRounds &&
             (!starts_.empty() || curl_timer_ == Clock::time_point::min() || mailbox_->pending()));
    if (std::exchange(called_consumer, false)) {
      if (RoundObserver* observer = context_.observer.load(std::memory_order_acquire)) observer->on_round_end(index_);
    }
  }
  end_all();
  clean_up();
}

int IoThread::wait_ms() {
  if (!starts_.empty() || mailbox_->pending()) return 0;
  Clock::time_point next = curl_timer_;
  if (!lookup_deadlines_.empty()) next = std::min(next, lookup_deadlines_.begin()->first);
  if (next == Clock::time_point::max()) return -1;
  if (next == Clock::time_point::min()) return 0;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(wait, 0, 60'000));
}

void IoThread::wait_for_events() {
  epoll_event events[kEvents];
  const int count = epoll_wait(epoll_fd_.load(std::memory_order_relaxed), events, kEvents, wait_ms());
  for (int i = 0; i < count; ++i) {
    const int fd = events[i].data.fd;
    if (fd == mailbox_->event_fd()) {
      std::uint64_t burst = 0;
      [[maybe_unused]] const ssize_t size = ::read(fd, &burst, sizeof burst);
      continue;
    }
    if (!poll_.is_wanted(fd)) continue;
    const std::uint32_t flags = events[i].events;
    int mask = 0;
    if ((flags & EPOLLIN) != 0) mask |= CURL_CSELECT_IN;
    if ((flags & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
    if ((flags & (EPOLLERR | EPOLLHUP)) != 0) mask |= CURL_CSELECT_ERR;
    int running = 0;
    curl_multi_socket_action(multi_, fd, mask, &running);
  }
}

void IoThread::work_round() {
  handle_commands();
  if (stopping_) return;
  std::vector<TransferId> starts;
  starts.swap(starts_);
  for (const TransferId id : starts) {
    if (Transfer* t = context_.admission.find(id)) begin(t);
  }
  run_curl_timer();
  expire_lookups();
  collect_done();
}

void IoThread::run_curl_timer() {
  if (curl_timer_ == Clock::time_point::max()) return;
  if (curl_timer_ != Clock::time_point::min() && curl_timer_ > Clock::now()) return;
  curl_timer_ = Clock::time_point::max();  // libcurl sets it again when it has more to do
  int running = 0;
  curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
}

void IoThread::handle_commands() {
  commands_.clear();
  mailbox_->drain(commands_);
  for (Command& command : commands_) {
    handle(command);
    if (stopping_) return;
  }
}

void IoThread::handle(Command& command) {
  if (command.kind == Command::Kind::kStop) stopping_ = true;
  Transfer* t = context_.admission.find(command.id);
  if (t == nullptr) return;  // it has ended meanwhile
  switch (command.kind) {
    case Command::Kind::kStart:
      return begin(t);
    case Command::Kind::kCancel:
      return fail(t, Error(ErrorCode::kStopped, "the transfer was cancelled"));
    case Command::Kind::kResume:
      return resume(t);
    case Command::Kind::kResolved:
      if (t->phase != Transfer::Phase::kResolving) return;
      lookup_deadlines_.erase({t->lookup_deadline, t->id});
      t->dns_time = Clock::now() - t->hop_at;
      return load(t, command.resolution.get());
    case Command::Kind::kStop:
      return;
  }
}

void IoThread::expire_lookups() {
  while (!lookup_deadlines_.empty() && lookup_deadlines_.begin()->first <= Clock::now()) {
    Transfer* t = context_.admission.find(lookup_deadlines_.begin()->second);
    lookup_deadlines_.erase(lookup_deadlines_.begin());
    if (t == nullptr) continue;
    const bool total = t->deadline <= Clock::now();
    const double limit = total ? seconds(t->timeout) : context_.config.options.connect_timeout_s;
    fail(t, Error(ErrorCode::kFetchTimeout, seconds_text(limit) + " while resolving the name", {},
                  CURLE_OPERATION_TIMEDOUT));
  }
}

void IoThread::collect_done() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    EasySlot* slot = nullptr;
    const CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
    hop_done(slot, code);
  }
}

// ---- one transfer

void IoThread::begin(Transfer* t) {
  const auto now = Clock::now();
  const auto waited = now - t->queued_at;
  t->queue_time += waited;
  if (!t->started) {
    t->started = true;
    t->started_at = now;
    t->deadline = t->timeout == Clock::duration::max() ? Clock::time_point::max() : now + t->timeout;
    t->url = t->first_url;
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
  const Clock::duration connect = duration_of(context_.config.options.connect_timeout_s);
  const auto deadline = connect == Clock::duration::max() ? t->deadline : std::min(t->deadline, t->hop_at + connect);
  t->lookup_deadline = deadline;
  if (deadline != Clock::time_point::max()) lookup_deadlines_.emplace(deadline, t->id);
}

/// Gives the hop to libcurl. `resolution` is null for a literal address.
void IoThread::load(Transfer* t, const Resolution* resolution) {
  t->phase = Transfer::Phase::kIdle;
  if (resolution != nullptr && resolution->addresses.empty()) {
    return fail(t, Error(ErrorCode::kDns, "host name cannot be resolved: " + resolution->failure, {},
                         CURLE_COULDNT_RESOLVE_HOST));
  }
  Clock::duration total = Clock::duration::max();
  Clock::duration connect = duration_of(context_.config.options.connect_timeout_s);
  if (t->deadline != Clock::time_point::max()) {
    // The first hop of most transfers: exactly the option, so that nothing needs to be set again.
    total = t->redirects == 0 && t->dns_time == Clock::duration{} ? t->timeout : t->deadline - Clock::now();
  }
  if (connect != Clock::duration::max()) connect -= t->dns_time;
  if (total <= Clock::duration{}) return fail(t, timeout_error(*t, nullptr));

  EasySlot* slot = take_slot();
  if (slot == nullptr) return fail(t, Error(ErrorCode::kOutOfMemory, "no memory for a transfer"));
  const Proxy* proxy = context_.config.proxy.for_url(t->url);
  std::shared_ptr<const Slist> list;
  if (resolution != nullptr) {
    list = proxy != nullptr ? resolve_list(proxy->host, proxy->port, *resolution)
                            : resolve_list(t->url.host, t->url.port, *resolution);
  }
  slot->prepare(t, proxy, std::move(list), limit_ms(total), connect == Clock::duration::max() ? 0 : limit_ms(connect));
  t->slot = slot;
  t->phase = Transfer::Phase::kLoading;
  t->paused = false;
  if (const CURLMcode code = curl_multi_add_handle(multi_, slot->easy); code != CURLM_OK) {
    return fail(t, Error(ErrorCode::kInternal, curl_multi_strerror(code)));
  }
  slot->in_multi = true;
}

void IoThread::resume(Transfer* t) {
  if (!t->paused || t->slot == nullptr) return;
  t->paused = false;
  // May call on_body at once, which may pause again. An error is not reported by a message, so it is handled here.
  const CURLcode code = curl_easy_pause(t->slot->easy, CURLPAUSE_CONT);
  if (code != CURLE_OK) hop_done(t->slot, code);
}

void IoThread::hop_done(EasySlot* slot, CURLcode code) {
  Transfer* t = slot->transfer;
  const bool useless = t->head_done && t->discard && !t->failure;
  if (useless && t->status < 400) {
    drop_slot(t);
    return follow(t);
  }
  if (useless) {
    return fail(t, Error(ErrorCode::kHttpStatus, "HTTP status " + std::to_string(t->status), {}, t->status));
  }
  if (code != CURLE_OK || t->failure) return fail(t, failure_of(*t, *slot, code));
  finish(t, info_of(*t, slot->easy));
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

  Admission::Ready ready;
  const bool at_once = context_.admission.move_to_host(t, t->url.host, ready);
  hand_over(ready);
  if (at_once) begin_hop(t);
}

// ---- endings

Error IoThread::timeout_error(const Transfer& t, CURL* easy) const {
  const FetcherOptions& options = context_.config.options;
  const auto with = [](std::string text) {
    return Error(ErrorCode::kFetchTimeout, std::move(text), {}, CURLE_OPERATION_TIMEDOUT);
  };
  // libcurl's clock and ours differ by less than a millisecond and its limits are whole milliseconds.
  if (easy == nullptr || t.deadline <= Clock::now() + std::chrono::milliseconds(2))
    return with(seconds_text(seconds(t.timeout)));
  if (curl_time_us(easy, CURLINFO_PRETRANSFER_TIME_T) == 0) {
    return with(seconds_text(options.connect_timeout_s) + " while connecting");
  }
  return with(seconds_text(options.low_speed_time_s) + " below " + std::to_string(options.low_speed_bytes_per_s) +
              " bytes per second");
}

Error IoThread::failure_of(Transfer& t, EasySlot& slot, CURLcode code) const {
  if (t.failure) return *t.failure;
  if (t.refused != nullptr && code == CURLE_COULDNT_CONNECT) {
    return Error(ErrorCode::kBlockedAddress, "address " + t.refused_address + " is not allowed: " + t.refused, {},
                 code);
  }
  if (code == CURLE_OPERATION_TIMEDOUT) return timeout_error(t, slot.easy);
  return error_from_curl(code, slot.message, t.got_bytes);
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

void IoThread::fail(Transfer* t, Error error) {
  if (error.context.empty()) {
    error.context = t->first_url.has_userinfo ? redact_url(t->first_url.text) : t->first_url.text;
  }
  finish(t, std::move(error));
}

void IoThread::finish(Transfer* t, const Result<TransferInfo>& result) {
  if (t->phase == Transfer::Phase::kResolving) lookup_deadlines_.erase({t->lookup_deadline, t->id});
  drop_slot(t);
  called_consumer = true;
  bump(counters_.body_bytes, t->body_bytes);
  bump(result.ok()                                  ? counters_.done
       : result.error().code == ErrorCode::kStopped ? counters_.stopped
                                                    : counters_.failed);
  // The place is given back first, so that whoever is woken by on_done sees it free in stats().
  Admission::Ready ready;
  const std::unique_ptr<Transfer> owned = context_.admission.release(t, ready);
  hand_over(ready);
  try {
    t->consumer->on_done(result);
  } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell
  }
}

void IoThread::hand_over(const Admission::Ready& ready) {
  for (const Admission::Admitted& admitted : ready) {
    if (admitted.io == index_)
      starts_.push_back(admitted.id);
    else
      context_.mailboxes[admitted.io]->post({Command::Kind::kStart, admitted.id, nullptr});
  }
}

EasySlot* IoThread::take_slot() {
  if (free_slots_.empty()) {
    std::unique_ptr<EasySlot> slot = EasySlot::create(this, &context_.config);
    if (!slot) return nullptr;
    slots_.push_back(std::move(slot));
    return slots_.back().get();
  }
  EasySlot* slot = free_slots_.back();  // the last used one is warm in the cache
  free_slots_.pop_back();
  return slot;
}

/// Takes the handle out of libcurl; a connection in the middle of an answer is closed by that, a finished one is kept.
void IoThread::drop_slot(Transfer* t) {
  EasySlot* slot = std::exchange(t->slot, nullptr);
  t->phase = Transfer::Phase::kIdle;
  if (slot == nullptr) return;
  if (slot->in_multi) curl_multi_remove_handle(multi_, slot->easy);
  slot->in_multi = false;
  slot->transfer = nullptr;
  free_slots_.push_back(slot);
}

/// "+host:port:a,b": the plus gives the entry the ordinary lifetime in libcurl's cache. It is given with every hop, so
/// it is always fresh and libcurl never has a reason to look up a name itself.
std::shared_ptr<const Slist> IoThread::resolve_list(const std::string& host, std::uint16_t port,
                                                    const Resolution& resolution) {
  if (resolve_lists_.size() >= kMaxResolveLists) resolve_lists_.clear();
  const std::string key = host + ":" + std::to_string(port);
  ResolveList& entry = resolve_lists_[key];
  if (entry.list && entry.addresses == resolution.addresses) return entry.list;
  std::string line = "+" + key + ":";
  for (const std::string& address : resolution.addresses) {
    if (&address != &resolution.addresses.front()) line += ',';
    line += address.find(':') != std::string::npos ? "[" + address + "]" : address;
  }
  entry.addresses = resolution.addresses;
  entry.list = std::make_shared<const Slist>(curl_slist_append(nullptr, line.c_str()));
  return entry.list;
}

void IoThread::end_all() {
  mailbox_->close();
  starts_.clear();
  for (Transfer* t : context_.admission.belonging_to(index_)) {
    fail(t, Error(ErrorCode::kStopped, "the fetcher was closed"));
  }
}

}  // namespace offloop::fetch
