// One I/O thread: a libcurl multi handle, an epoll set, a mailbox. Handles never leave it.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fetch/admission.h"
#include "fetch/easy_slot.h"
#include "fetch/mailbox.h"
#include "fetch/resolver.h"
#include "fetch/socket_poll.h"

namespace offloop::fetch {

/// Counted by one I/O thread, read by any.
struct IoCounters {
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> stopped{0};
  std::atomic<std::uint64_t> body_bytes{0};
  std::atomic<std::uint64_t> connections_opened{0};
  std::atomic<std::uint64_t> wakes{0};

  static void bump(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {  // one writer: no locked instruction
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
};

/// What the I/O threads of one Fetcher share.
struct IoContext {
  const Config& config;
  Admission& admission;
  Resolver& resolver;
  std::vector<std::shared_ptr<Mailbox>>& mailboxes;  // by I/O thread
  std::atomic<RoundObserver*>& observer;
};

/// All functions [I/O thread] unless tagged.
class IoThread final : public CallbackSink {
 public:
  /// nullptr with errno set when descriptors or memory are short. [any thread]
  static std::unique_ptr<IoThread> create(unsigned index, IoContext context);
  ~IoThread() override;

  /// The loop. Returns after Command::kStop, when every transfer of this thread has had its on_done.
  void run();

  const IoCounters& counters() const noexcept { return counters_; }  // [any thread]

  /// Closes the inherited descriptors by number. [forked child]
  void close_in_child() noexcept;

  bool socket_opened(curl_socket_t fd) noexcept override;
  void socket_closed(curl_socket_t fd) noexcept override;

 private:
  IoThread(unsigned index, IoContext context, int epoll_fd);

  static int socket_callback(CURL*, curl_socket_t fd, int what, void* user, void*);
  static int timer_callback(CURLM*, long timeout_ms, void* user);

  /// Runs a step of the transfer; without memory for it, the transfer ends.
  template <class Step>
  void step(TransferId id, Step run) noexcept;

  int wait_ms();
  void wait_for_events();
  void renew_poll() noexcept;
  void work_round();
  void run_curl_timer();
  void socket_action(curl_socket_t fd, int mask);
  bool make_multi() noexcept;
  void drop_failed_multi() noexcept;
  void handle_commands();
  void handle(Command& command);
  void expire_lookups();
  void collect_done();

  void begin(Transfer* t);
  void begin_hop(Transfer* t);
  void load(Transfer* t, const Resolution* resolution);
  void hop_done(EasySlot* slot, CURLcode code);
  bool try_another_connection(Transfer* t, CURLcode code);
  void follow(Transfer* t);
  void resume(Transfer* t);

  Error timeout_error(const Transfer& t, CURL* easy) const;
  Error failure_of(Transfer& t, EasySlot& slot, CURLcode code) const;
  TransferInfo info_of(Transfer& t, CURL* easy) const;

  // The end of a transfer needs no memory.
  void fail(Transfer* t, Error error) noexcept;
  void finish(Transfer* t, Result<TransferInfo> result) noexcept;
  void hand_over(Burst& ready) noexcept;
  void drop_slot(Transfer* t) noexcept;
  EasySlot* take_slot();
  std::shared_ptr<const Slist> resolve_list(Transfer* t, const std::string& host, std::uint16_t port,
                                            const Resolution& resolution);
  void end_all();
  void clean_up();

  const unsigned index_;
  IoContext context_;
  std::atomic<int> epoll_fd_;
  CURLM* multi_ = nullptr;  // null after a failure, until the next transfer makes another
  SocketPoll poll_;
  std::shared_ptr<Mailbox> mailbox_;

  Clock::time_point curl_timer_ = Clock::time_point::max();
  std::set<std::pair<Clock::time_point, TransferId>> lookup_deadlines_;
  std::vector<Command> commands_;
  std::vector<TransferId> starts_;  // admitted by this thread's own releases
  std::vector<TransferId> starting_;
  std::vector<std::unique_ptr<EasySlot>> slots_;
  std::vector<EasySlot*> free_slots_;

  std::unordered_map<std::string, std::shared_ptr<ResolveList>> resolve_lists_;  // by "host:port"

  bool multi_failed_ = false;  // libcurl or epoll did not do what it was asked
  bool no_memory_ = false;     // malloc failed in libcurl in this round
  bool stopping_ = false;
  unsigned stale_rounds_ = 0;  // rounds one after the other with an event of a socket that is not there
  IoCounters counters_;
};

}  // namespace offloop::fetch
