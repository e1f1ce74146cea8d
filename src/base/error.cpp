#include "offloop/base/error.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <netdb.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace offloop {

const char* error_code_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kOk:
      return "Ok";
    case ErrorCode::kInvalidArgument:
      return "InvalidArgument";
    case ErrorCode::kInvalidUrl:
      return "InvalidUrl";
    case ErrorCode::kPoolSaturated:
      return "PoolSaturated";
    case ErrorCode::kPoolClosed:
      return "PoolClosed";
    case ErrorCode::kOutOfMemory:
      return "OutOfMemory";
    case ErrorCode::kStopped:
      return "Stopped";
    case ErrorCode::kTimeout:
      return "Timeout";
    case ErrorCode::kIo:
      return "Io";
    case ErrorCode::kFetch:
      return "Fetch";
    case ErrorCode::kFetchTimeout:
      return "FetchTimeout";
    case ErrorCode::kHttpStatus:
      return "HttpStatus";
    case ErrorCode::kDns:
      return "Dns";
    case ErrorCode::kConnect:
      return "Connect";
    case ErrorCode::kTls:
      return "Tls";
    case ErrorCode::kTooManyRedirects:
      return "TooManyRedirects";
    case ErrorCode::kIncompleteBody:
      return "IncompleteBody";
    case ErrorCode::kContentDecoding:
      return "ContentDecoding";
    case ErrorCode::kBodyTooLarge:
      return "BodyTooLarge";
    case ErrorCode::kBlockedAddress:
      return "BlockedAddress";
    case ErrorCode::kImage:
      return "Image";
    case ErrorCode::kImageLimit:
      return "ImageLimit";
    case ErrorCode::kUnsupportedFormat:
      return "UnsupportedFormat";
    case ErrorCode::kDecoderCrash:
      return "DecoderCrash";
    case ErrorCode::kHashMismatch:
      return "HashMismatch";
    case ErrorCode::kInternal:
      return "Internal";
  }
  return "Unknown";
}

/// RFC 9110 section 15 (408, 500, 502, 503, 504), RFC 8470 (425), RFC 6585 (429), and what large proxies add (522,
/// 524).
static bool retryable_status(int status) noexcept {
  switch (status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
    case 522:
    case 524:
      return true;
    default:
      return false;
  }
}

bool is_retryable(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kPoolSaturated:
    case ErrorCode::kTimeout:
    case ErrorCode::kFetchTimeout:
    case ErrorCode::kConnect:
    case ErrorCode::kIncompleteBody:
      return true;
    default:
      return false;
  }
}

bool is_retryable(const Error& error) noexcept {
  switch (error.code) {
    case ErrorCode::kHttpStatus:
      return retryable_status(error.system);
    case ErrorCode::kDns:
      return error.system == EAI_AGAIN;
    default:
      return is_retryable(error.code);
  }
}

Error::Error(ErrorCode c, const char* msg) noexcept : code(c) {
  try {
    message = msg;
    if (backtrace_wanted()) backtrace = current_backtrace();
  } catch (...) {  // NOLINT(bugprone-empty-catch): the code says what to do
  }
}

bool Error::backtrace_wanted() noexcept {
  // 0: not asked yet, 1: no, 2: yes. Not made on first use by the compiler: a fork can leave the lock of that locked.
  static std::atomic<int> answer{0};
  int known = answer.load(std::memory_order_relaxed);
  if (known == 0) {
    const char* value = std::getenv("OFFLOOP_BACKTRACE");
    known = value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0 ? 2 : 1;
    answer.store(known, std::memory_order_relaxed);
  }
  return known == 2;
}

namespace {

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

/// "library(mangled+0x12) [0x7f...]" with the name made readable.
std::string readable(const char* symbol) {
  const char* begin = std::strchr(symbol, '(');
  const char* end = begin != nullptr ? std::strchr(begin, '+') : nullptr;
  if (end == nullptr || end == begin + 1) return symbol;
  int status = 0;
  const std::unique_ptr<char, Free> name(
      abi::__cxa_demangle(std::string(begin + 1, end).c_str(), nullptr, nullptr, &status));
  if (status != 0) return symbol;
  return std::string(symbol, begin + 1) + name.get() + end;
}

}  // namespace

std::string Error::current_backtrace() {
  void* frames[48];
  const int depth = ::backtrace(frames, 48);
  const std::unique_ptr<char*, Free> symbols(::backtrace_symbols(frames, depth));
  if (symbols == nullptr) return {};
  std::string text;
  for (int i = 2; i < depth; ++i)
    text += "  " + readable(symbols.get()[i]) + "\n";  // without this function and the constructor
  return text;
}

}  // namespace offloop
