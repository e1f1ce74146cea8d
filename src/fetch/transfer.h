// One transfer, from start() to on_done.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fetch/content_decoder.h"
#include "fetch/request_headers.h"
#include "offloop/fetch/fetcher.h"
#include "offloop/fetch/url.h"

namespace offloop::fetch {

using Clock = std::chrono::steady_clock;

struct EasySlot;
struct HostQueue;

/// What one I/O thread has told libcurl about one "host:port".
struct ResolveList {
  std::vector<std::string> addresses;
  std::shared_ptr<const Slist> list;
  Clock::time_point fresh_until;  ///< libcurl surely has it until then; the epoch = not known to
};

/// The body in a content coding. [I/O thread]
struct CodedBody {
  std::unique_ptr<ContentDecoder> decoder;  ///< null: the body is plain
  std::uint64_t bytes = 0;                  ///< before decoding
  std::vector<std::uint8_t> kept;           ///< decoded, and not taken by a consumer that paused
  std::size_t done = 0;                     ///< how much of what libcurl gives again after the pause is decoded
};

struct Transfer {
  // Set by start(), then constant.
  TransferId id = 0;
  BodyConsumer* consumer = nullptr;
  Url first_url;
  Method method = Method::kGet;
  Clock::duration timeout{};  ///< max() = none
  std::uint64_t max_body = 0;
  Slist own_headers;          ///< null: the Fetcher's list serves
  Slist stripped_headers;     ///< for hops to another origin; null: as own_headers
  bool origin_bound = false;  ///< stripped_headers counts

  // Guarded by Admission's mutex.
  enum class Place : std::uint8_t { kQueued, kRunning, kUnlinked };
  Place place = Place::kQueued;
  bool cancelled = false;
  bool on_io_thread = false;  ///< `io` is chosen and stays
  unsigned io = 0;
  HostQueue* host = nullptr;
  Transfer* previous = nullptr;  ///< in its host's queue
  Transfer* next = nullptr;
  Clock::time_point queued_at;

  // [I/O thread]
  enum class Phase : std::uint8_t { kIdle, kResolving, kLoading };
  Phase phase = Phase::kIdle;
  EasySlot* slot = nullptr;
  Url url;                                     ///< of this hop
  std::shared_ptr<ResolveList> resolve_given;  ///< this hop carries the list
  unsigned redirects = 0;
  bool paused = false;
  unsigned dead_connections = 0;  ///< kept-alive ones that died under this transfer before an answer
  bool started = false;           ///< the clock below runs
  Clock::time_point started_at;
  Clock::time_point deadline;  ///< of all hops; max() = none
  Clock::time_point hop_at;
  Clock::time_point lookup_deadline;  ///< while kResolving; max() = none
  Clock::duration queue_time{};
  Clock::duration dns_time{};

  // This hop's answer, filled by libcurl's callbacks.
  HeaderBlock headers;
  int status = 0;
  bool head_done = false;      ///< the head of a final answer is complete, on_response was made or is not wanted
  bool discard = false;        ///< the body is of no use: a redirect's or an error's
  bool got_bytes = false;      ///< something of an answer came
  std::size_t head_bytes = 0;  ///< interim heads included
  std::uint64_t discarded = 0;
  std::uint64_t body_bytes = 0;
  CodedBody coded;
  std::shared_ptr<const bool> closing_message;  ///< of TLS came; not null: nothing else tells where the body ends
  std::optional<Error> failure;                 ///< the reason of ours for which a callback ended the transfer
  int socket_error = 0;                         ///< errno of the last socket that could not be had
  const char* refused = nullptr;                ///< the address policy's reason
  char refused_address[INET6_ADDRSTRLEN] = "";
};

}  // namespace offloop::fetch
