#include "fetch/io_thread.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace offloop::fetch {
namespace {

constexpr int kEvents = 256;        // a round: enough to gather a batch, few enough to stay in cache
constexpr int kMaxInnerRounds = 8;  // then look at the sockets again
constexpr std::size_t kMaxResolveLists = 4096;
constexpr long kIdleConnections = 64;  // kept beside those in use

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
  IoCounters::bump(counters_.connections_opened);
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

/// "+host:port:a,b": the plus gives the entry the ordinary lifetime in libcurl's cache. Reading it costs libcurl about
/// 8 us, so it is given again only when the addresses have changed or the entry comes near its end: libcurl never finds
/// a name without one, which it would look up itself. Null: it has it.
std::shared_ptr<const Slist> IoThread::resolve_list(Transfer* t, const std::string& host, std::uint16_t port,
                                                    const Resolution& resolution) {
  if (resolve_lists_.size() >= kMaxResolveLists) resolve_lists_.clear();
  const std::string key = host + ":" + std::to_string(port);
  std::shared_ptr<ResolveList>& entry = resolve_lists_[key];
  if (entry && entry->addresses == resolution.addresses) {
    if (t->hop_at < entry->fresh_until) return nullptr;
  } else {
    std::string line = "+" + key + ":";
    for (const std::string& address : resolution.addresses) {
      if (&address != &resolution.addresses.front()) line += ',';
      line += address.find(':') != std::string::npos ? "[" + address + "]" : address;
    }
    entry = std::make_shared<ResolveList>();
    entry->addresses = resolution.addresses;
    entry->list = std::make_shared<const Slist>(curl_slist_append(nullptr, line.c_str()));
  }
  t->resolve_given = entry;
  return entry->list;
}

void IoThread::end_all() {
  mailbox_->close();
  starts_.clear();
  for (Transfer* t : context_.admission.belonging_to(index_)) {
    fail(t, Error(ErrorCode::kStopped, "the fetcher was closed"));
  }
}

}  // namespace offloop::fetch
