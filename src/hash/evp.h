// Streams of every algorithm but SHA-256: one at a time on a worker, by OpenSSL's EVP.
#pragma once

#include <openssl/evp.h>

#include "offloop/hash/stream.h"

namespace offloop::hash {

struct EvpWork final : StreamWork {
  explicit EvpWork(const EVP_MD* digest_method) noexcept : method(digest_method) {}
  ~EvpWork() { EVP_MD_CTX_free(context); }
  const EVP_MD* const method;
  EVP_MD_CTX* context = nullptr;  ///< made at the first span, on the worker
};

runtime::Group& evp_group() noexcept;

}  // namespace offloop::hash
