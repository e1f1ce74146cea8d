// hashlib's names, and OpenSSL's for the same.
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <atomic>
#include <cstring>

#include "offloop/hash/digest.h"
#include "offloop/runtime/fork.h"
#include "offloop/runtime/pool.h"

namespace offloop::hash {
namespace {

constexpr Algorithm kSha256("sha256", 32, nullptr);

struct Names {
  const char* ours;
  const char* openssl;
};
// Sorted by our name. SHAKE has no digest size of its own and is left out.
constexpr Names kNames[] = {
    {"blake2b", "BLAKE2b512"},
    {"blake2s", "BLAKE2s256"},
    {"md5", "MD5"},
    {"ripemd160", "RIPEMD160"},
    {"sha1", "SHA1"},
    {"sha224", "SHA224"},
    {"sha384", "SHA384"},
    {"sha3_224", "SHA3-224"},
    {"sha3_256", "SHA3-256"},
    {"sha3_384", "SHA3-384"},
    {"sha3_512", "SHA3-512"},
    {"sha512", "SHA512"},
    {"sha512_256", "SHA512-256"},
    {"sm3", "SM3"},
};
constexpr unsigned kCount = sizeof kNames / sizeof kNames[0];

struct Table {
  const Algorithm* entries[kCount];  // null where this OpenSSL does not offer it (FIPS, no legacy provider)
};

/// Made once, never freed. OpenSSL is initialised before our exit handler is registered, so that the handler runs
/// first: a worker inside EVP while OpenSSL cleans up crashes the process.
std::atomic<const Table*> g_table{nullptr};
std::atomic<std::uint32_t> g_table_lock{0};  // no std::once_flag: a fork can leave that half done for ever

const Table* make_table() {
  OPENSSL_init_crypto(OPENSSL_INIT_ADD_ALL_DIGESTS, nullptr);
  runtime::Pool::shutdown_at_exit();
  auto* table = new Table;
  for (unsigned i = 0; i < kCount; ++i) {
    EVP_MD* method = EVP_MD_fetch(nullptr, kNames[i].openssl, nullptr);
    table->entries[i] = method == nullptr
                            ? nullptr
                            : new Algorithm(kNames[i].ours, static_cast<unsigned>(EVP_MD_get_size(method)), method);
  }
  return table;
}

const Table& table() {
  const Table* made = g_table.load(std::memory_order_acquire);
  if (made == nullptr) {
    const runtime::ForkLock lock(g_table_lock);
    made = g_table.load(std::memory_order_relaxed);
    if (made == nullptr) g_table.store(made = make_table(), std::memory_order_release);
  }
  return *made;
}

}  // namespace

bool Digest::operator==(const Digest& other) const noexcept {
  return size == other.size && std::memcmp(bytes, other.bytes, size) == 0;
}

const Algorithm& Algorithm::sha256() noexcept {
  return kSha256;
}

Result<const Algorithm*> Algorithm::find(std::string_view name) {
  if (name == "sha256") return &kSha256;
  for (const Algorithm* algorithm : table().entries) {
    if (algorithm != nullptr && name == algorithm->name()) return algorithm;
  }
  std::string known;
  for (const std::string& other : names()) known += (known.empty() ? "" : ", ") + other;
  return Error(ErrorCode::kInvalidArgument, "algorithm must be one of " + known + "; got '" + std::string(name) + "'");
}

std::vector<std::string> Algorithm::names() {
  std::vector<std::string> all;
  for (const Algorithm* algorithm : table().entries) {
    if (algorithm == nullptr) continue;
    if (std::strcmp(algorithm->name(), "sha384") == 0) all.emplace_back("sha256");  // its place in the order
    all.emplace_back(algorithm->name());
  }
  return all;
}

}  // namespace offloop::hash
