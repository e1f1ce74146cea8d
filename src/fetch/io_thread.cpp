#include "fetch/io_thread.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
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
  std::unique_ptr<IoThread> thread;
  try {
    thread.reset(new IoThread(index, context, epoll_fd));
  } catch (const std::bad_alloc&) {
    ::close(epoll_fd);
    errno = ENOMEM;
    return nullptr;
  }
  if (!thread->poll_.add_event(thread->mailbox_->event_fd())) return nullptr;
  if (!thread->make_multi()) {
    thread.reset();
    errno = ENOMEM;
  }
  return thread;
}

IoThread::IoThread(unsigned index, IoContext context, int epoll_fd)
    : index_(index), context_(context), epoll_fd_(epoll_fd), poll_(epoll_fd), mailbox_(context.mailboxes[index]) {
  commands_.reserve(Mailbox::kRoom);
  starts_.reserve(Mailbox::kRoom);
  starting_.reserve(Mailbox::kRoom);
}

/// False without memory.
bool IoThread::make_multi() noexcept {
  if (multi_ != nullptr) return true;
  multi_ = curl_multi_init();
  if (multi_ == nullptr) return false;
  const FetcherOptions& options = context_.config.options;
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &IoThread::socket_callback);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &IoThread::timer_callback);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options.max_concurrent) + kIdleConnections);
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, options.http2 ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
  return true;
}

IoThread::~IoThread() {
  clean_up();
}

void IoThread::clean_up() {
  const int epoll_fd = epoll_fd_.load(std::memory_order_relaxed);
  if (epoll_fd < 0) return;
  for (const auto& slot : slots_) {
    if (slot->in_multi) curl_multi_remove_handle(multi_, slot->easy);
  }
  slots_.clear();
  free_slots_.clear();
  curl_multi_cleanup(std::exchange(multi_, nullptr));
  epoll_fd_.store(-1);
  ::close(epoll_fd);
}

void IoThread::close_in_child() noexcept {
  if (const int fd = epoll_fd_.exchange(-1); fd >= 0) ::close(fd);
  ::close(mailbox_->event_fd());
  poll_.descriptors().close_all();
}

bool IoThread::socket_opened(curl_socket_t fd) noexcept {
  IoCounters::bump(counters_.connections_opened);
  return poll_.opened(fd);
}

void IoThread::socket_closed(curl_socket_t fd) noexcept {
  poll_.closed(fd);
}

int IoThread::socket_callback(CURL*, curl_socket_t fd, int what, void* user, void*) {
  auto* self = static_cast<IoThread*>(user);
  if (!self->poll_.want(fd, what)) self->multi_failed_ = true;
  return 0;  // anything else, and libcurl never uses the multi handle again
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
    IoCounters::bump(counters_.wakes);
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
  bool stale = false;
  for (int i = 0; i < count; ++i) {
    const int fd = SocketPoll::descriptor_of(events[i]);
    if (fd == mailbox_->event_fd()) {
      std::uint64_t burst = 0;
      [[maybe_unused]] const ssize_t size = ::read(fd, &burst, sizeof burst);
      continue;
    }
    const SocketPoll::Event judged = poll_.judge(events[i]);
    stale |= judged == SocketPoll::Event::kNobodys;
    if (judged != SocketPoll::Event::kWanted) continue;
    const std::uint32_t flags = events[i].events;
    int mask = 0;
    if ((flags & EPOLLIN) != 0) mask |= CURL_CSELECT_IN;
    if ((flags & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
    if ((flags & (EPOLLERR | EPOLLHUP)) != 0) mask |= CURL_CSELECT_ERR;
    socket_action(fd, mask);
  }
  if (stale) {
    renew_poll();
  } else {
    stale_rounds_ = 0;
  }
}

/// A registration that cannot be taken back by number would bring its event for ever. Once it may be of a socket that
/// an earlier event of the same round closed. Without a descriptor for another set the next round tries again.
void IoThread::renew_poll() noexcept {
  if (++stale_rounds_ < 2) return;
  const int fresh = poll_.renew();
  if (fresh < 0) return;
  ::close(epoll_fd_.exchange(fresh));
  stale_rounds_ = 0;
}

template <class Step>
void IoThread::step(TransferId id, Step run) noexcept {
  try {
    run();
  } catch (const std::bad_alloc&) {
    if (Transfer* t = context_.admission.find(id)) fail(t, Error(ErrorCode::kOutOfMemory, "out of memory"));
  }
}

void IoThread::work_round() {
  handle_commands();
  if (stopping_) return;
  starting_.swap(starts_);
  for (const TransferId id : starting_) {
    if (Transfer* t = context_.admission.find(id)) step(id, [&] { begin(t); });
  }
  starting_.clear();
  run_curl_timer();
  expire_lookups();
  collect_done();
  no_memory_ = false;
  drop_failed_multi();
}

void IoThread::run_curl_timer() {
  if (curl_timer_ == Clock::time_point::max()) return;
  if (curl_timer_ != Clock::time_point::min() && curl_timer_ > Clock::now()) return;
  curl_timer_ = Clock::time_point::max();  // libcurl sets it again when it has more to do
  socket_action(CURL_SOCKET_TIMEOUT, 0);
}

void IoThread::socket_action(curl_socket_t fd, int mask) {
  if (multi_ == nullptr) return;
  int running = 0;
  errno = 0;
  if (curl_multi_socket_action(multi_, fd, mask, &running) != CURLM_OK) multi_failed_ = true;
  if (errno == ENOMEM) no_memory_ = true;
}

/// There was no memory to watch a socket, and libcurl does not say whose: that transfer would wait for ever.
/// Worse, 7.88 then divides by zero when it meets the socket's number again. So all that it has in its hands end, and
/// so does the multi handle; the next transfer makes another.
void IoThread::drop_failed_multi() noexcept {
  if (!std::exchange(multi_failed_, false)) return;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i]->in_multi) fail(slots_[i]->transfer, Error(ErrorCode::kOutOfMemory, "out of memory"));
  }
  curl_multi_cleanup(std::exchange(multi_, nullptr));
  curl_timer_ = Clock::time_point::max();
}

void IoThread::handle_commands() {
  commands_.clear();
  mailbox_->drain(commands_);
  for (Command& command : commands_) {
    step(command.id, [&] { handle(command); });
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
  if (multi_ == nullptr) return;
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    EasySlot* slot = nullptr;
    const CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
    step(slot->transfer->id, [&] { hop_done(slot, code); });
  }
}

/// What is ready, and what more may run.
void IoThread::hand_over(Burst& ready) noexcept {
  for (; !ready.empty(); context_.admission.pump(ready)) {
    for (const Burst::Entry& entry : ready) {
      // Beyond the room that is there anyway the mailbox takes them, which waits for memory.
      if (entry.io == index_ && starts_.size() < starts_.capacity())
        starts_.push_back(entry.id);
      else
        context_.mailboxes[entry.io]->post({Command::Kind::kStart, entry.id, nullptr});
    }
    if (!ready.full()) return;
  }
}

EasySlot* IoThread::take_slot() {
  if (free_slots_.empty()) {
    std::unique_ptr<EasySlot> slot = EasySlot::create(this, &context_.config);
    if (!slot) return nullptr;
    if (free_slots_.capacity() <= slots_.size())
      free_slots_.reserve(2 * slots_.size() + 16);  // so that an end needs none
    slots_.push_back(std::move(slot));
    return slots_.back().get();
  }
  EasySlot* slot = free_slots_.back();  // the last used one is warm in the cache
  if (slot->broken && !slot->reset()) return nullptr;
  free_slots_.pop_back();
  return slot;
}

/// Takes the handle out of libcurl; a connection in the middle of an answer is closed by that, a finished one is kept.
void IoThread::drop_slot(Transfer* t) noexcept {
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
    auto fresh = std::make_shared<ResolveList>();
    fresh->addresses = resolution.addresses;
    Slist list(curl_slist_append(nullptr, line.c_str()));
    if (!list) throw std::bad_alloc();
    fresh->list = std::make_shared<const Slist>(std::move(list));
    entry = std::move(fresh);
  }
  t->resolve_given = entry;
  return entry->list;
}

void IoThread::end_all() {
  mailbox_->close();
  starts_.clear();
  std::size_t place = 0;
  while (Transfer* t = context_.admission.next_of(index_, place)) {
    fail(t, Error(ErrorCode::kStopped, "the fetcher was closed"));
  }
}

}  // namespace offloop::fetch
