#include "offloop/base/error.h"

namespace offloop {

const char* error_code_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kOk: return "Ok";
    case ErrorCode::kInvalidArgument: return "InvalidArgument";
    case ErrorCode::kInvalidUrl: return "InvalidUrl";
    case ErrorCode::kPoolSaturated: return "PoolSaturated";
    case ErrorCode::kPoolClosed: return "PoolClosed";
    case ErrorCode::kOutOfMemory: return "OutOfMemory";
    case ErrorCode::kStopped: return "Stopped";
    case ErrorCode::kTimeout: return "Timeout";
    case ErrorCode::kIo: return "Io";
    case ErrorCode::kFetch: return "Fetch";
    case ErrorCode::kFetchTimeout: return "FetchTimeout";
    case ErrorCode::kHttpStatus: return "HttpStatus";
    case ErrorCode::kDns: return "Dns";
    case ErrorCode::kConnect: return "Connect";
    case ErrorCode::kTls: return "Tls";
    case ErrorCode::kTooManyRedirects: return "TooManyRedirects";
    case ErrorCode::kIncompleteBody: return "IncompleteBody";
    case ErrorCode::kContentDecoding: return "ContentDecoding";
    case ErrorCode::kBodyTooLarge: return "BodyTooLarge";
    case ErrorCode::kBlockedAddress: return "BlockedAddress";
    case ErrorCode::kHashMismatch: return "HashMismatch";
    case ErrorCode::kInternal: return "Internal";
  }
  return "Unknown";
}

bool is_retryable(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kPoolSaturated:
    case ErrorCode::kTimeout:
    case ErrorCode::kFetch:
    case ErrorCode::kFetchTimeout:
    case ErrorCode::kDns:
    case ErrorCode::kConnect:
    case ErrorCode::kIncompleteBody: return true;
    default: return false;  // kHttpStatus depends on the status: fetch decides (RFC 9110 section 15, DESIGN "Fetch")
  }
}

}  // namespace offloop
