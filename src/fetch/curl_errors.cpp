#include "fetch/curl_errors.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "offloop/fetch/fetcher.h"

namespace offloop::fetch {
namespace {

ErrorCode code_of(CURLcode code, bool answered) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return ErrorCode::kDns;
    case CURLE_COULDNT_CONNECT:
      return ErrorCode::kConnect;
    case CURLE_OPERATION_TIMEDOUT:
      return ErrorCode::kFetchTimeout;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED:
      return ErrorCode::kTls;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
      return ErrorCode::kIncompleteBody;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return answered ? ErrorCode::kIncompleteBody : ErrorCode::kConnect;
    case CURLE_BAD_CONTENT_ENCODING:
      return ErrorCode::kContentDecoding;
    case CURLE_FILESIZE_EXCEEDED:
      return ErrorCode::kBodyTooLarge;
    case CURLE_OUT_OF_MEMORY:
      return ErrorCode::kOutOfMemory;
    default:
      return ErrorCode::kFetch;  // CURLE_UNSUPPORTED_PROTOCOL too: the URL was checked, so it is an answer in HTTP/0.9
  }
}

std::mutex g_mutex;
bool g_ready = false;  // guarded by g_mutex

}  // namespace

Error error_from_curl(CURLcode code, const std::string& detail, bool answered) {
  const std::string message = detail.empty() ? std::string(curl_easy_strerror(code)) : detail;
  ErrorCode kind = code_of(code, answered);
  // At the moment of the timeout libcurl 7.88 may say it in words and give the code of what the timeout interrupted.
  if (kind == ErrorCode::kFetch && message.starts_with("Operation timed out")) kind = ErrorCode::kFetchTimeout;
  return Error(kind, message, {}, static_cast<int>(code));
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%gs", seconds);
  return text;
}

Error init_curl_once() {
  const std::lock_guard lock(g_mutex);
  if (g_ready) return {};
  // libcurl initialises OpenSSL, which registers its clean-up for exit; handlers run last-in-first-out, so ours,
  // registered after it, ends the I/O threads before OpenSSL's state goes away under them.
  const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code == CURLE_OUT_OF_MEMORY) return Error(ErrorCode::kOutOfMemory, "out of memory");
  if (code != CURLE_OK)
    return Error(ErrorCode::kInternal, std::string("libcurl cannot be initialised: ") + curl_easy_strerror(code));
  if (std::atexit([] { close_all_fetchers(); }) != 0) {
    curl_global_cleanup();
    return Error(ErrorCode::kOutOfMemory, "out of memory");
  }
  g_ready = true;
  return {};
}

}  // namespace offloop::fetch
