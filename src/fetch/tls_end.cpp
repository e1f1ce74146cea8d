#include "fetch/tls_end.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <string_view>

namespace offloop::fetch {
namespace {

// The connection holds a share of the flag: it may end before the transfer or after it.
using Flag = std::shared_ptr<bool>;

void drop_flag(void*, void* flag, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<Flag*>(flag);
}

/// One index for the process; without memory for it the next call asks again.
int flag_index() {
  static std::atomic<int> index{-1};
  int known = index.load(std::memory_order_acquire);
  if (known >= 0) return known;
  const int fresh = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, &drop_flag);
  if (fresh < 0) throw std::bad_alloc();
  return index.compare_exchange_strong(known, fresh, std::memory_order_acq_rel) ? fresh : known;
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
      session->backend != CURLSSLBACKEND_OPENSSL || session->internals == nullptr) {
    return nullptr;
  }
  auto* ssl = static_cast<SSL*>(session->internals);
  auto flag = std::make_shared<bool>(false);
  auto held = std::make_unique<Flag>(flag);
  // Without the flag a body that was cut would pass as whole.
  if (SSL_set_ex_data(ssl, flag_index(), held.get()) != 1) throw std::bad_alloc();
  (void)held.release();
  SSL_set_info_callback(ssl, &on_event);
  return flag;
}

}  // namespace offloop::fetch
