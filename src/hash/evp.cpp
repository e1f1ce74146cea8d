#include "evp.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evperr.h>

#include <algorithm>
#include <new>

#include "offloop/runtime/group.h"

namespace offloop::hash {
namespace {

using runtime::Outcome;

/// Stop requests are looked at between updates, and the worker turns to others: below 1 ms for the slowest algorithm
/// (SHA-512 without instructions of its own: about 0.5 GB/s).
constexpr std::size_t kQuantumBytes = 256 * 1024;

class EvpGroup final : public runtime::Group {
 public:
  constexpr EvpGroup() noexcept : Group("evp", 1) {}
  ~EvpGroup() = default;

  void run(runtime::Quantum& q) noexcept override {
    auto& work = static_cast<EvpWork&>(*q.works[0]);
    if (work.context == nullptr && !begin(work)) {
      fail(q);
      return;
    }
    std::size_t left = kQuantumBytes;
    while (true) {
      const std::size_t n = std::min(left, work.size);
      if (n != 0 && EVP_DigestUpdate(work.context, work.data, n) != 1) return fail(q);
      runtime::Pool::report_bytes(n);
      work.data += n;
      work.size -= n;
      left -= n;
      if (work.size != 0) return;  // the quantum is over; cost_ns stays an overestimate
      if (work.last) return finish(work) ? q.end(0, Outcome::kValue) : fail(q);
      const StreamWork::Next next = work.next_span(&work);
      if (next == StreamWork::Next::kIdle) return q.release(0);
      if (next == StreamWork::Next::kStop) return q.end(0, Outcome::kStopped);
    }
  }

 private:
  /// OpenSSL has queued its reasons for this thread: freed now, for nobody asks and the worker may outlive its
  /// clean-up.
  static void fail(runtime::Quantum& q) noexcept {
    // The first reason is always queued, unless there was no memory for that either. That a method cannot begin has
    // another one before it (it is not supported, say), or memory was out.
    const unsigned long error = ERR_peek_error();
    const int reason = ERR_GET_REASON(error);
    const bool out_of_memory = error == 0 || reason == ERR_R_MALLOC_FAILURE || reason == EVP_R_INITIALIZATION_ERROR;
    OPENSSL_thread_stop();
    q.end(0, out_of_memory ? Outcome::kOutOfMemory : Outcome::kError);
  }
  static bool begin(EvpWork& work) noexcept {
    work.context = EVP_MD_CTX_new();
    return work.context != nullptr && EVP_DigestInit_ex(work.context, work.method, nullptr) == 1;
  }
  static bool finish(EvpWork& work) noexcept {
    unsigned size = 0;
    if (EVP_DigestFinal_ex(work.context, work.digest.bytes, &size) != 1) return false;
    work.digest.size = static_cast<std::uint8_t>(size);
    return true;
  }
};

constinit EvpGroup g_evp_group;  // no function's static: a fork can leave the lock of its first use locked

}  // namespace

runtime::Group& evp_group() noexcept {
  return g_evp_group;
}

}  // namespace offloop::hash
