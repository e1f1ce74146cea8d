// A libcurl easy handle that serves one transfer after the other. What never changes is set once; a hop sets only what
// differs from the hop before.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fetch/config.h"
#include "fetch/transfer.h"

namespace offloop::fetch {

/// What the callbacks of one I/O thread's handles share with its loop. [I/O thread]
struct CallbackSink {
  virtual ~CallbackSink() = default;
  /// False without memory to keep it: it is to be closed again.
  virtual bool socket_opened(curl_socket_t fd) noexcept = 0;
  virtual void socket_closed(curl_socket_t fd) noexcept = 0;
  bool called_consumer = false;
  std::vector<std::uint8_t> scratch;  ///< what a decoder makes, before it is taken; made by the first coded body
};

/// All functions [I/O thread].
struct EasySlot {
  CURL* easy = nullptr;
  CallbackSink* sink = nullptr;
  const Config* config = nullptr;
  Transfer* transfer = nullptr;
  bool in_multi = false;
  bool broken = false;  ///< to be reset before it is used again
  char message[CURL_ERROR_SIZE] = "";

  EasySlot(const EasySlot&) = delete;
  EasySlot& operator=(const EasySlot&) = delete;
  ~EasySlot();

  /// nullptr when libcurl has no memory. `sink` and `config` must outlive every connection of the multi handle.
  static std::unique_ptr<EasySlot> create(CallbackSink* sink, const Config* config);

  /// Makes the handle ready for the transfer's current hop. `resolve` may be null. False when libcurl has no memory:
  /// the handle must be reset before it is used again.
  bool prepare(Transfer* t, const Proxy* proxy, std::shared_ptr<const Slist> resolve, long timeout_ms,
               long connect_timeout_ms);

  /// Forgets what libcurl counts over the transfers of one handle. Not while it is in the multi handle. False when
  /// libcurl has no memory: the handle stays broken.
  bool reset();

 private:
  EasySlot() = default;
  bool set_constant_options();

  /// What libcurl has been told, so that only differences are told again.
  struct Known {
    std::shared_ptr<const Slist> resolve;
    const curl_slist* headers = nullptr;
    bool headers_stay =
        true;  // they live as long as the Fetcher; a request's own list may come again at the same address
    const Proxy* proxy = nullptr;
    long timeout_ms = -1;
    long connect_timeout_ms = -1;
    Method method = Method::kGet;
  };
  Known known_;
};

}  // namespace offloop::fetch
