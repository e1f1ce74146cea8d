#include "fetch/easy_slot.h"

#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace offloop::fetch {
namespace {

// Against libcurl's own 16 KiB about 15 % less CPU time at bodies of 1 MB, no difference at 1 KB, no more at 256 KiB.
constexpr long kBufferBytes = 128 * 1024;
constexpr std::size_t kMaxHeadBytes = 128 * 1024;
constexpr std::uint64_t kMaxDiscardBytes = 64 * 1024;  // reading on keeps the connection; beyond, a new one is cheaper
constexpr long kDnsCacheSeconds = 60;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/// "HTTP/1.1 200 OK" -> 200; 0 when it is no status line.
int status_of(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (!line.starts_with("HTTP/") || space == std::string_view::npos) return 0;
  int status = 0;
  std::from_chars(line.data() + space + 1, line.data() + line.size(), status);
  return status;
}

/// Bytes that on_body will get, -1 when the head does not say.
std::int64_t announced_length(const Transfer& t, bool decompress) {
  if (t.method == Method::kHead || t.status == 204 || t.status == 304) return 0;
  const std::string_view encoding = t.headers.find("content-encoding");
  if (!t.headers.find("transfer-encoding").empty()) return -1;
  if (decompress && !encoding.empty() && encoding != "identity") return -1;
  const std::string_view text = t.headers.find("content-length");
  std::int64_t length = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty() ? length : -1;
}

Error too_large(const Transfer& t) {
  return Error(ErrorCode::kBodyTooLarge, "body is larger than max_body, " + std::to_string(t.max_body) + " bytes");
}

/// Ends the transfer for a consumer that threw; nothing may unwind through libcurl's C frames.
template <class Call>
bool guarded(Transfer* t, Call call) {
  try {
    call();
    return true;
  } catch (const std::bad_alloc&) {
    t->failure.emplace(ErrorCode::kOutOfMemory, "out of memory in a consumer");
  } catch (...) {
    t->failure.emplace(ErrorCode::kInternal, "a consumer threw an exception");
  }
  return false;
}

/// The head is complete: decides what the body is good for. False ends the transfer.
bool finish_head(EasySlot& slot) {
  Transfer* t = slot.transfer;
  if (t->status < 200 && t->status != 101) return true;  // 100 Continue, 103 Early Hints: the real head follows
  t->head_done = true;
  if (is_redirect(t->status) && !t->headers.find("location").empty()) {
    t->discard = true;
    return true;
  }
  const std::int64_t length = announced_length(*t, slot.config->options.decompress);
  slot.sink->called_consumer = true;
  if (!guarded(t, [&] { t->consumer->on_response({t->status, t->url.text, t->headers, length}); })) return false;
  if (t->status >= 400 && slot.config->options.fail_on_status) {
    t->discard = true;
    return true;
  }
  if (length >= 0 && static_cast<std::uint64_t>(length) > t->max_body) {
    t->failure = too_large(*t);
    return false;
  }
  return true;
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
  EasySlot& slot = *static_cast<EasySlot*>(user);
  Transfer* t = slot.transfer;
  const std::string_view line(data, size);
  t->got_bytes = true;
  if (t->head_done) return size;  // a trailer
  t->head_bytes += size;
  if (t->head_bytes > kMaxHeadBytes) {
    t->failure.emplace(ErrorCode::kFetch, "header section is larger than " + std::to_string(kMaxHeadBytes) + " bytes");
    return 0;
  }
  if (t->status == 0) {  // between heads: this is a status line
    t->status = status_of(line);
    t->headers.clear();
    return size;
  }
  if (line == "\r\n" || line == "\n") {
    if (!finish_head(slot)) return 0;
    if (!t->head_done) t->status = 0;
    return size;
  }
  if (!guarded(t, [&] { t->headers.append_line(line); })) return 0;
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
  EasySlot& slot = *static_cast<EasySlot*>(user);
  Transfer* t = slot.transfer;
  if (t->discard) {
    t->discarded += size;
    return t->discarded > kMaxDiscardBytes ? 0 : size;
  }
  if (size == 0) return 0;
  if (size > t->max_body - t->body_bytes) {
    t->failure = too_large(*t);
    return 0;
  }
  Flow flow = Flow::kAbort;
  slot.sink->called_consumer = true;
  if (!guarded(t, [&] { flow = t->consumer->on_body({reinterpret_cast<const std::uint8_t*>(data), size}); })) return 0;
  switch (flow) {
    case Flow::kContinue:
      t->body_bytes += size;
      return size;
    case Flow::kPause:
      t->paused = true;
      return CURL_WRITEFUNC_PAUSE;
    case Flow::kAbort:
      break;
  }
  t->failure.emplace(ErrorCode::kStopped, "the consumer ended the transfer");
  return 0;
}

std::string address_text(const curl_sockaddr& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &address.addr, sizeof in);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
  } else if (address.family == AF_INET6) {
    sockaddr_in6 in;
    std::memcpy(&in, &address.addr, sizeof in < address.addrlen ? sizeof in : address.addrlen);
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
  }
  return text;
}

curl_socket_t open_socket(void* user, curlsocktype, curl_sockaddr* address) {
  EasySlot& slot = *static_cast<EasySlot*>(user);
  if (!slot.config->policy.allows_everything()) {
    // curl_sockaddr's own addr is a sockaddr that addrlen bytes follow; IPv6 is longer than the struct says.
    const std::optional<IpAddress> ip = IpAddress::from_sockaddr(&address->addr);
    const char* reason = ip ? slot.config->policy.refusal(*ip) : "not an IP address";
    if (reason != nullptr) {
      slot.transfer->refused = reason;
      slot.transfer->refused_address = address_text(*address);
      return CURL_SOCKET_BAD;
    }
  }
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  slot.sink->socket_opened(fd);
  return fd;
}

int close_socket(void* user, curl_socket_t fd) {
  static_cast<CallbackSink*>(user)->socket_closed(fd);
  return ::close(fd);
}

}  // namespace

std::unique_ptr<EasySlot> EasySlot::create(CallbackSink* sink, const Config* config) {
  std::unique_ptr<EasySlot> slot(new EasySlot);
  slot->easy = curl_easy_init();
  if (slot->easy == nullptr) return nullptr;
  slot->sink = sink;
  slot->config = config;
  slot->set_constant_options();
  return slot;
}

EasySlot::~EasySlot() {
  curl_easy_cleanup(easy);
}

void EasySlot::set_constant_options() {
  const FetcherOptions& options = config->options;
  const auto set = [this](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);  // every hop goes through our resolver, limits and address policy
  set(CURLOPT_HTTP09_ALLOWED, 0L);
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_HTTP_VERSION, static_cast<long>(options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  set(CURLOPT_PIPEWAIT, options.http2 ? 1L : 0L);
  set(CURLOPT_BUFFERSIZE, kBufferBytes);
  set(CURLOPT_DNS_CACHE_TIMEOUT, kDnsCacheSeconds);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_ERRORBUFFER, message);
  if (options.decompress) set(CURLOPT_ACCEPT_ENCODING, "");  // turns decoding on; the header itself is in our list
  set(CURLOPT_LOW_SPEED_LIMIT, static_cast<long>(options.low_speed_bytes_per_s));
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.low_speed_time_s));
  set(CURLOPT_SSL_VERIFYPEER, options.verify_tls ? 1L : 0L);
  set(CURLOPT_SSL_VERIFYHOST, options.verify_tls ? 2L : 0L);
  if (!options.ca_file.empty()) {
    set(CURLOPT_CAINFO, options.ca_file.c_str());
    set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  }
  set(CURLOPT_PROXY, "");  // ours is chosen per hop; this keeps libcurl from reading the environment
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(CURLOPT_OPENSOCKETDATA, this);
  // A connection outlives the handle that opened it, so its end is reported to the thread.
  set(CURLOPT_CLOSESOCKETFUNCTION, &close_socket);
  set(CURLOPT_CLOSESOCKETDATA, sink);
}

void EasySlot::reset() {
  curl_easy_reset(easy);
  known_ = Known{};
  set_constant_options();
}

void EasySlot::prepare(Transfer* t, const Proxy* proxy, std::shared_ptr<const Slist> resolve, long timeout_ms,
                       long connect_timeout_ms) {
  transfer = t;
  message[0] = '\0';
  curl_easy_setopt(easy, CURLOPT_URL, t->url.text.c_str());

  const bool own = t->own_headers != nullptr;
  const bool other_origin = !t->url.same_origin(t->first_url);
  const curl_slist* list = own ? t->own_headers.get() : config->headers.get();
  if (own && t->origin_bound && other_origin) list = t->stripped_headers.get();
  if (!own && config->origin_bound && other_origin) list = config->stripped_headers.get();
  if (list != known_.headers || !known_.headers_stay) curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  known_.headers = list;
  known_.headers_stay = !own;

  if (t->method != known_.method) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, t->method == Method::kHead ? 1L : 0L);
    if (t->method == Method::kGet) curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    known_.method = t->method;
  }
  if (proxy != known_.proxy) {
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy != nullptr ? proxy->text.c_str() : "");
    known_.proxy = proxy;
  }
  if (timeout_ms != known_.timeout_ms) curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, known_.timeout_ms = timeout_ms);
  if (connect_timeout_ms != known_.connect_timeout_ms) {
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, known_.connect_timeout_ms = connect_timeout_ms);
  }
  if (resolve || known_.resolve) {
    curl_easy_setopt(easy, CURLOPT_RESOLVE, resolve ? resolve->get() : nullptr);
    known_.resolve = std::move(resolve);
  }
}

}  // namespace offloop::fetch
