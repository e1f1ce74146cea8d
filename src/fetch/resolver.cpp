#include "fetch/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "fetch/threads.h"
#include "offloop/fetch/address_policy.h"

namespace offloop::fetch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kMaxThreads = 4;
constexpr std::size_t kMaxEntries = 10'000;  // Scrapy's DNSCACHE_SIZE; an unbounded one was a CVE elsewhere
constexpr auto kAnswerTtl = std::chrono::seconds(60);
constexpr auto kFailureTtl = std::chrono::seconds(5);
constexpr auto kIdleTime = std::chrono::seconds(10);

std::atomic<LookUp> g_look_up{nullptr};

Resolution no_memory() noexcept {
  Resolution resolution;
  resolution.not_asked = resolution.out_of_memory = true;
  return resolution;
}

}  // namespace

Result<Overrides> parse_overrides(const std::vector<std::string>& entries) {
  Overrides overrides;
  for (const std::string& entry : entries) {
    const std::size_t colon = entry.find(':');
    const std::string address = colon == std::string::npos ? "" : entry.substr(colon + 1);
    if (colon == 0 || colon == std::string::npos || !IpAddress::parse(address)) {
      return Error(ErrorCode::kInvalidArgument, "resolve: expected host:address, got '" + entry + "'");
    }
    std::string host = entry.substr(0, colon);
    for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    overrides[host].push_back(address);
  }
  return overrides;
}

Resolution look_up_with_getaddrinfo(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  errno = 0;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    // Without a descriptor glibc says that the name is not known. It was not asked.
    const int system = errno;
    if (system == ENOMEM || error == EAI_MEMORY) return no_memory();
    const bool ours = system == EMFILE || system == ENFILE;
    Resolution failed;
    failed.failure = ours || error == EAI_SYSTEM ? std::system_category().message(system) : gai_strerror(error);
    failed.not_asked = ours;
    failed.temporary = ours || error == EAI_AGAIN;
    return failed;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(list, &freeaddrinfo);
  Resolution resolution;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[INET6_ADDRSTRLEN] = "";
    if (entry->ai_family == AF_INET) {
      sockaddr_in in;
      std::memcpy(&in, entry->ai_addr, sizeof in);
      inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    } else if (entry->ai_family == AF_INET6) {
      sockaddr_in6 in;
      std::memcpy(&in, entry->ai_addr, sizeof in);
      inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    }
    if (text[0] != '\0') resolution.addresses.emplace_back(text);
  }
  if (resolution.addresses.empty()) resolution.failure = "the name has no address";
  return resolution;
}

void set_look_up_for_tests(LookUp look_up) noexcept {
  g_look_up.store(look_up);
}

struct Resolver::State {
  struct Waiter {
    TransferId transfer;
    std::shared_ptr<Mailbox> mailbox;
  };
  struct Entry {
    std::shared_ptr<const Resolution> answer;  // nullptr while it is looked up
    Clock::time_point expires;
    std::vector<Waiter> waiters;
  };

  const std::shared_ptr<const Resolution> out_of_memory = std::make_shared<const Resolution>(no_memory());
  Overrides overrides;  // immutable
  LookUp look_up;       // immutable

  std::mutex mutex;
  std::condition_variable work;  // the rest is guarded by mutex
  std::unordered_map<std::string, Entry> entries;
  std::deque<std::string> queue;  // names to look up
  unsigned threads = 0;
  unsigned idle = 0;
  std::uint64_t lookups = 0;
  bool stopping = false;

  void make_room(Clock::time_point now);
  static void run(const std::shared_ptr<State>& state);
  static bool start_thread(const std::shared_ptr<State>& state);
  void ask(const std::string& host) noexcept;
};

/// Drops what has expired, then any answered entry: losing one costs a look-up and nothing else. Caller holds mutex.
void Resolver::State::make_room(Clock::time_point now) {
  if (entries.size() < kMaxEntries) return;
  std::erase_if(entries, [&](const auto& item) { return item.second.answer && item.second.expires <= now; });
  for (auto it = entries.begin(); it != entries.end() && entries.size() >= kMaxEntries * 3 / 4;) {
    it = it->second.answer ? entries.erase(it) : std::next(it);
  }
}

/// Looks the name up and tells all who wait for it. [resolver thread]
void Resolver::State::ask(const std::string& host) noexcept {
  std::shared_ptr<const Resolution> answer = out_of_memory;
  try {
    Resolution resolution = look_up(host);
    if (!resolution.out_of_memory) answer = std::make_shared<const Resolution>(std::move(resolution));
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): that is the answer
  }
  const auto ttl = answer->not_asked ? Clock::duration{} : answer->addresses.empty() ? kFailureTtl : kAnswerTtl;
  std::vector<Waiter> waiters;
  {
    const std::lock_guard lock(mutex);
    Entry& entry = entries.find(host)->second;  // nobody removes one that has no answer
    entry.answer = answer;
    entry.expires = Clock::now() + ttl;
    waiters.swap(entry.waiters);
  }
  for (const Waiter& waiter : waiters) {
    waiter.mailbox->post({Command::Kind::kResolved, waiter.transfer, answer});
  }
}

/// [resolver thread]
void Resolver::State::run(const std::shared_ptr<State>& state) {
  pthread_setname_np(pthread_self(), "offloop-dns");
  std::unique_lock lock(state->mutex);
  while (!state->stopping) {
    if (state->queue.empty()) {
      ++state->idle;
      const bool timed_out = state->work.wait_for(lock, kIdleTime) == std::cv_status::timeout;
      --state->idle;
      if (timed_out && state->queue.empty()) break;
      continue;
    }
    const std::string host = std::move(state->queue.front());
    state->queue.pop_front();
    lock.unlock();
    state->ask(host);
    lock.lock();
  }
  --state->threads;
}

/// Caller holds mutex. Detached, because nobody may wait for a look-up: it holds the state, and only that.
bool Resolver::State::start_thread(const std::shared_ptr<State>& state) {
  errno = 0;  // pthread_create() has one code for what is short; malloc says ENOMEM
  try {
    const BlockedSignals blocked;
    std::thread([state] { run(state); }).detach();
    ++state->threads;
    return true;
  } catch (const std::system_error&) {
    return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

Resolver::Resolver(Overrides overrides) : state_(std::make_shared<State>()) {
  state_->overrides = std::move(overrides);
  const LookUp replaced = g_look_up.load();
  state_->look_up = replaced != nullptr ? replaced : &look_up_with_getaddrinfo;
}

Resolver::~Resolver() {
  const std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->work.notify_all();
}

std::shared_ptr<const Resolution> Resolver::resolve(const std::string& host, TransferId transfer,
                                                    const std::shared_ptr<Mailbox>& mailbox) {
  State& state = *state_;
  if (const auto found = state.overrides.find(host); found != state.overrides.end()) {
    return std::make_shared<const Resolution>(Resolution{found->second});
  }
  const auto now = Clock::now();
  const std::lock_guard lock(state.mutex);
  if (const auto found = state.entries.find(host); found != state.entries.end()) {
    State::Entry& entry = found->second;
    if (!entry.answer) {
      entry.waiters.push_back({transfer, mailbox});
      return nullptr;
    }
    if (entry.expires > now) return entry.answer;
  }
  state.make_room(now);
  State::Entry& entry = state.entries[host];
  entry.answer = nullptr;
  try {
    entry.waiters.push_back({transfer, mailbox});
    state.queue.push_back(host);
  } catch (const std::bad_alloc&) {
    state.entries.erase(host);
    throw;
  }
  ++state.lookups;
  if (state.idle > 0) {
    state.work.notify_one();
  }
  if (state.queue.size() > state.idle && state.threads < kMaxThreads && !State::start_thread(state_) &&
      state.threads == 0) {
    state.queue.pop_back();
    state.entries.erase(host);
    if (errno == ENOMEM) throw std::bad_alloc();
    return std::make_shared<const Resolution>(Resolution{{}, "no thread for the name look-up", true, true});
  }
  return nullptr;
}

std::uint64_t Resolver::lookups() const {
  const std::lock_guard lock(state_->mutex);
  return state_->lookups;
}

}  // namespace offloop::fetch
