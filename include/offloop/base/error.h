// What can go wrong, as data. No exception crosses a thread of the core: failures travel as an Error inside a Result.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace offloop {

/// What the caller should do next, not where it happened. The order is not part of the interface; the names are.
enum class ErrorCode : std::uint8_t {
  kOk = 0,

  // Fix the argument.
  kInvalidArgument,  ///< a value out of its range; nothing was started
  kInvalidUrl,       ///< not a URL of ours: syntax, scheme, host or port

  // Wait, or ask for less.
  kPoolSaturated,  ///< max_pending operations are in flight and when_full is "raise"
  kPoolClosed,     ///< the runtime was shut down; no operation is accepted any more
  kOutOfMemory,    ///< an allocation failed

  // Ended on purpose.
  kStopped,  ///< stop was requested; not a failure (Python: CancelledError)
  kTimeout,  ///< the operation's own deadline passed

  // The outside world: `system` is an errno.
  kIo,  ///< a file could not be opened or read

  // Fetch. `system` is the HTTP status for kHttpStatus, otherwise libcurl's code.
  kFetch,             ///< a transfer failed in a way that has no class of its own
  kFetchTimeout,      ///< connect, total or low-speed limit; retryable
  kHttpStatus,        ///< the server answered with a status of 400 or above
  kDns,               ///< the host name could not be resolved
  kConnect,           ///< refused, unreachable or reset before the answer; retryable
  kTls,               ///< handshake or certificate verification failed
  kTooManyRedirects,  ///< more than max_redirects, or a redirect to a scheme that is not allowed
  kIncompleteBody,    ///< the connection ended before the announced length
  kContentDecoding,   ///< the compressed body is broken
  kBodyTooLarge,      ///< more than max_body decoded bytes
  kBlockedAddress,    ///< the address policy forbids the peer

  // Pictures.
  kImage,              ///< broken, or cannot be written in that format
  kImageLimit,         ///< more pixels, bytes, frames or scans than the limits allow; judged before decoding
  kUnsupportedFormat,  ///< no picture of a format that is allowed, or a library for it is missing
  kDecoderCrash,       ///< the isolated decoder died of this picture or was killed over its budget

  // Give up.
  kHashMismatch,  ///< the digest is not the expected one

  // Report a bug.
  kInternal,  ///< an invariant of offloop does not hold
};

/// The enumerator's name without its `k`, for logs and tests ("InvalidUrl").
const char* error_code_name(ErrorCode code) noexcept;

/// True when the same call may succeed a moment later without any change, as far as the code alone says; what depends
/// on more (a status, why a name was not resolved) is not. offloop.errors says the same of its classes.
bool is_retryable(ErrorCode code) noexcept;

struct Error {
  ErrorCode code = ErrorCode::kOk;
  int system = 0;  ///< errno, HTTP status, getaddrinfo's EAI_ code or libcurl's, as the code says; 0 when there is none
  std::string message;    ///< what was expected and what came, in words
  std::string context;    ///< what it was about: a URL, a path, an operation's name
  std::string backtrace;  ///< where it was made, one frame a line; only with OFFLOOP_BACKTRACE=1 in the environment

  Error() = default;
  /// For where nothing may be thrown: without memory for the words, the code alone is left.
  Error(ErrorCode c, const char* msg) noexcept;
  Error(ErrorCode c, std::string msg, std::string ctx = {}, int sys = 0)
      : code(c), system(sys), message(std::move(msg)), context(std::move(ctx)) {
    if (backtrace_wanted()) backtrace = current_backtrace();
  }

 private:
  static bool backtrace_wanted() noexcept;
  static std::string current_backtrace();
};

/// The same, with what the error knows: a status that says "later", a resolver that failed for the moment.
bool is_retryable(const Error& error) noexcept;

}  // namespace offloop
