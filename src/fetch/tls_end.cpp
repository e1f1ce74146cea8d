#include "fetch/tls_end.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

namespace offloop::fetch {
namespace {

// The connection holds a share of the flag: it may end before the transfer or after it.
using Flag = std::shared_ptr<bool>;

void drop_flag(void*, void* flag, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<Flag*>(flag);
}

int flag_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, &drop_flag);
  return index;
}

void on_event(const SSL* ssl, int where, int what) {
  if (where != SSL_CB_READ_ALERT || (what & 0xff) != SSL_AD_CLOSE_NOTIFY) return;
  if (const auto* flag = static_cast<Flag*>(SSL_get_ex_data(ssl, flag_index()))) **flag = true;
}

/// Whether libcurl's connections are of the library that we call.
bool is_our_openssl() {
  const char* name = curl_version_info(CURLVERSION_NOW)->ssl_version;
  const std::string ours = "OpenSSL/" + std::to_string(OPENSSL_version_major()) + ".";
  return name != nullptr && std::string_view(name).starts_with(ours);
}

}  // namespace

std::shared_ptr<const bool> watch_closing_message(CURL* easy) {
  curl_tlssessioninfo* session = nullptr;
  if (!is_our_openssl() || curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &session) != CURLE_OK || session == nullptr ||
      session->backend != CURLSSLBACKEND_OPENSSL || session->internals == nullptr || flag_index() < 0) {
    return nullptr;
  }
  auto* ssl = static_cast<SSL*>(session->internals);
  auto flag = std::make_shared<bool>(false);
  auto held = std::make_unique<Flag>(flag);
  if (SSL_set_ex_data(ssl, flag_index(), held.get()) != 1) return nullptr;
  (void)held.release();
  SSL_set_info_callback(ssl, &on_event);
  return flag;
}

}  // namespace offloop::fetch
