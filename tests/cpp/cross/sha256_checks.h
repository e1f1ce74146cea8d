// What every SHA-256 kernel must do, as functions that return the first thing found wrong ("" is fine). Used by the
// GoogleTest programs of tests/cpp/hash and by the stand-alone aarch64 program here, which has neither GoogleTest nor
// OpenSSL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "hash/dispatch.h"

namespace offloop::hash::checks {

using Digest = std::vector<std::uint8_t>;
using Bytes = std::vector<std::uint8_t>;

inline std::string hex(const std::uint8_t* bytes, std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) {
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}
inline std::string hex(const Bytes& bytes) {
  return hex(bytes.data(), bytes.size());
}

inline Bytes unhex(const char* text) {
  Bytes bytes;
  const auto value = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  for (; *text != '\0'; text += 2) bytes.push_back(static_cast<std::uint8_t>(value(text[0]) << 4 | value(text[1])));
  return bytes;
}

/// Bytes that look random and are the same on every run.
inline Bytes noise(std::size_t n, std::uint64_t seed) {
  Bytes bytes(n);
  std::uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::uint8_t& byte : bytes) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    byte = static_cast<std::uint8_t>(x >> 32);
  }
  return bytes;
}

/// FIPS 180-4 once more, written to share nothing with src/: the constants are computed from their definition (the
/// first 32 bits of the fractional parts of roots of the first primes), the schedule has all its 64 words, the message
/// is padded in a copy.
class Reference {
 public:
  Reference() {
    unsigned count = 0;
    for (std::uint64_t p = 2; count < 64; ++p) {
      bool prime = true;
      for (std::uint64_t q = 2; q * q <= p; ++q) prime = prime && p % q != 0;
      if (!prime) continue;
      if (count < 8) init_[count] = fraction_of_root(p, 2);
      k_[count++] = fraction_of_root(p, 3);
    }
  }

  Digest digest(const std::uint8_t* data, std::size_t len) const {
    Bytes padded(data, data + len);
    padded.push_back(0x80);
    while (padded.size() % 64 != 56) padded.push_back(0);
    for (int shift = 56; shift >= 0; shift -= 8)
      padded.push_back(static_cast<std::uint8_t>(std::uint64_t{len} * 8 >> shift));
    std::uint32_t h[8];
    for (int i = 0; i < 8; ++i) h[i] = init_[i];
    for (std::size_t at = 0; at < padded.size(); at += 64) block(h, &padded[at]);
    Digest out;
    for (const std::uint32_t word : h) {
      for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(word >> shift));
    }
    return out;
  }
  Digest digest(const Bytes& data) const { return digest(data.data(), data.size()); }

 private:
  __extension__ typedef unsigned __int128 Wide;

  /// The first 32 bits after the point of p^(1/degree): the largest x with x^degree <= p * 2^(32 * degree), its low
  /// half.
  static std::uint32_t fraction_of_root(std::uint64_t p, int degree) {
    const Wide target = Wide{p} << (32 * degree);
    std::uint64_t low = 0, high = std::uint64_t{1} << 38;
    while (high - low > 1) {
      const std::uint64_t middle = low + (high - low) / 2;
      Wide power = middle;
      for (int i = 1; i < degree; ++i) power *= middle;
      (power <= target ? low : high) = middle;
    }
    return static_cast<std::uint32_t>(low);
  }

  static std::uint32_t right(std::uint32_t x, int n) { return x >> n | x << (32 - n); }

  void block(std::uint32_t* h, const std::uint8_t* m) const {
    std::uint32_t w[64];
    for (int t = 0; t < 16; ++t) {
      w[t] = std::uint32_t{m[4 * t]} << 24 | std::uint32_t{m[4 * t + 1]} << 16 | std::uint32_t{m[4 * t + 2]} << 8 |
             m[4 * t + 3];
    }
    for (int t = 16; t < 64; ++t) {
      const std::uint32_t s0 = right(w[t - 15], 7) ^ right(w[t - 15], 18) ^ w[t - 15] >> 3;
      const std::uint32_t s1 = right(w[t - 2], 17) ^ right(w[t - 2], 19) ^ w[t - 2] >> 10;
      w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    std::uint32_t v[8];
    for (int i = 0; i < 8; ++i) v[i] = h[i];
    for (int t = 0; t < 64; ++t) {
      const std::uint32_t t1 =
          v[7] + (right(v[4], 6) ^ right(v[4], 11) ^ right(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k_[t] + w[t];
      const std::uint32_t t2 =
          (right(v[0], 2) ^ right(v[0], 13) ^ right(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      for (int i = 7; i > 0; --i) v[i] = v[i - 1];
      v[4] += t1;
      v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; ++i) h[i] += v[i];
  }

  std::uint32_t init_[8] = {};
  std::uint32_t k_[64] = {};
};

inline Digest oneshot(const Bytes& message) {
  Digest digest(32);
  sha256_oneshot(message.data(), message.size(), digest.data());
  return digest;
}

struct Vector {
  const char* message_hex;
  const char* digest_hex;
};

/// From NIST's SHA256ShortMsg.rsp and FIPS 180-4's examples ("", "abc", the 56- and 112-byte texts).
inline constexpr Vector kNistVectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"d3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
    {"11af", "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"},
    {"b4190e", "dff2e73091f6c05e528896c4c831b9448653dc2ff043528f6769437bc7b975c2"},
    {"616263", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e6c6d6e6f6d6e6f706e6f7071",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"61626364656667686263646566676869636465666768696a6465666768696a6b65666768696a6b6c666768696a6b6c6d6768696a6b6c6d6e"
     "68696a6b6c6d6e6f696a6b6c6d6e6f706a6b6c6d6e6f70716b6c6d6e6f7071726c6d6e6f707172736d6e6f70717273746e6f707172737475",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};
inline constexpr const char* kMillionA = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

inline std::string check_nist() {
  for (const Vector& vector : kNistVectors) {
    const Digest digest = oneshot(unhex(vector.message_hex));
    if (hex(digest) != vector.digest_hex) return std::string("message ") + vector.message_hex + ": got " + hex(digest);
  }
  const Digest digest = oneshot(Bytes(1000000, 'a'));
  return hex(digest) == kMillionA ? "" : "a million 'a': got " + hex(digest);
}

/// Every length to 320 (five blocks, every case of the padding), then around the block edges up to 4,096.
inline std::string check_lengths(const Reference& reference) {
  const Bytes text = noise(4096 + 3, 1);
  for (std::size_t len = 0; len <= 4096; ++len) {
    if (len > 320 && (len + 9) % 64 > 18 && len != 4096) continue;
    const Bytes message(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(len));
    if (oneshot(message) != reference.digest(message)) return "wrong digest for " + std::to_string(len) + " bytes";
  }
  return {};
}

/// Every length from 0 to 4096 at every address by its remainder by 64: 262,208 messages, half a gigabyte.
inline std::string check_lengths_at_every_alignment(const Reference& reference) {
  constexpr std::size_t kLongest = 4096;
  const Bytes text = noise(kLongest, 3);
  std::vector<Digest> expected;
  for (std::size_t len = 0; len <= kLongest; ++len) expected.push_back(reference.digest(text.data(), len));
  Bytes room(kLongest + 2 * 64);
  const std::size_t edge = 64 - reinterpret_cast<std::uintptr_t>(room.data()) % 64;
  for (std::size_t shift = 0; shift < 64; ++shift) {
    std::uint8_t* const at = room.data() + edge + shift;
    std::memcpy(at, text.data(), kLongest);
    for (std::size_t len = 0; len <= kLongest; ++len) {
      std::uint8_t digest[32];
      sha256_oneshot(at, len, digest);
      if (std::memcmp(digest, expected[len].data(), sizeof digest) != 0)
        return std::to_string(len) + " bytes at offset " + std::to_string(shift);
    }
  }
  return {};
}

/// n streams of `blocks` blocks, given in `calls` calls, each stream at an address of its own remainder by 64; true
/// when every digest is right, nothing outside the n states was written, and the arrays of pointers are as they were.
inline std::string check_streams(const Reference& reference, unsigned n, std::size_t blocks, std::size_t calls) {
  constexpr std::uint32_t kGuard = 0xdecade05;
  const std::size_t bytes = blocks * 64;
  std::vector<Bytes> buffers;
  std::vector<std::uint32_t> states((kMaxLanes + 2) * 10, kGuard);  // a guard word before and after each state
  std::uint32_t* state_of[kMaxLanes] = {};
  const std::uint8_t* data_of[kMaxLanes] = {};
  for (unsigned i = 0; i < n; ++i) {
    const std::size_t shift = (i * 7 + n) % 64;
    buffers.push_back(noise(bytes + shift, n * 100 + i));
    data_of[i] = buffers[i].data() + shift;
    state_of[i] = &states[(i + 1) * 10 + 1];
    std::memcpy(state_of[i], kSha256Init, sizeof kSha256Init);
  }

  std::size_t done = 0;
  for (std::size_t call = 0; call < calls; ++call) {
    const std::size_t now = call + 1 == calls ? blocks - done : blocks / calls;
    const std::uint8_t* at[kMaxLanes];
    std::uint32_t* into[kMaxLanes];
    for (unsigned i = 0; i < kMaxLanes; ++i) {
      at[i] = i < n ? data_of[i] + done * 64 : nullptr;  // beyond n nothing may be touched
      into[i] = state_of[i];
    }
    sha256_blocks(n, into, at, now);
    for (unsigned i = 0; i < kMaxLanes; ++i) {
      if (into[i] != state_of[i] || at[i] != (i < n ? data_of[i] + done * 64 : nullptr)) return "a pointer was changed";
    }
    done += now;
  }

  const std::string which =
      std::to_string(n) + " streams of " + std::to_string(blocks) + " blocks in " + std::to_string(calls) + " calls: ";
  for (unsigned i = 0; i < n; ++i) {
    std::uint8_t tail[128];
    std::uint8_t digest[32];
    const std::size_t tail_blocks = sha256_pad(nullptr, 0, bytes, tail);
    const std::uint8_t* const tail_data[1] = {tail};
    if (state_of[i][-1] != kGuard || state_of[i][8] != kGuard)
      return which + "stream " + std::to_string(i) + " wrote beside its state";
    sha256_blocks(1, &state_of[i], tail_data, tail_blocks);
    sha256_store_digest(state_of[i], digest);
    if (hex(digest, 32) != hex(reference.digest(data_of[i], bytes)))
      return which + "stream " + std::to_string(i) + " is wrong";
  }
  for (unsigned i = 0; i < 10; ++i) {
    if (states[i] != kGuard || states[(n + 1) * 10 + i] != kGuard) return which + "wrote outside the states";
  }
  return {};
}

inline std::string check_all_streams(const Reference& reference) {
  for (unsigned n = 1; n <= kMaxLanes; ++n) {
    // Around each width of a kernel too: 1, 2, 4, 8 and 16 blocks, one less and one more.
    for (const std::size_t blocks : {1UL, 2UL, 3UL, 4UL, 5UL, 7UL, 8UL, 9UL, 15UL, 16UL, 17UL, 33UL}) {
      for (const std::size_t calls : {std::size_t{1}, std::size_t{2}, std::size_t{5}}) {
        if (std::string problem = check_streams(reference, n, blocks, calls); !problem.empty()) return problem;
      }
    }
  }
  return {};
}

/// Every address by its remainder by 64, for one stream and for sixteen.
inline std::string check_alignments(const Reference& reference) {
  for (std::size_t shift = 0; shift < 64; ++shift) {
    const Bytes buffer = noise(shift + 64 * 3 + 5, 77 + shift);
    Digest digest(32);
    sha256_oneshot(buffer.data() + shift, buffer.size() - shift, digest.data());
    if (digest != reference.digest(buffer.data() + shift, buffer.size() - shift))
      return "wrong at offset " + std::to_string(shift);
  }
  return {};
}

/// Carries, sign bits and rotations at their extremes: blocks of all zeros, all ones and single bits, sixteen different
/// at once.
inline std::string check_extremes(const Reference& reference) {
  std::vector<Bytes> messages;
  for (unsigned i = 0; i < kMaxLanes; ++i) {
    Bytes message(64, static_cast<std::uint8_t>(i % 2 == 0 ? 0x00 : 0xff));
    if (i >= 2) message[(i * 5) % 64] ^= static_cast<std::uint8_t>(1U << (i % 8));
    messages.push_back(message);
  }
  std::uint32_t states[kMaxLanes][8];
  std::uint32_t* into[kMaxLanes];
  const std::uint8_t* from[kMaxLanes];
  for (unsigned i = 0; i < kMaxLanes; ++i) {
    std::memcpy(states[i], kSha256Init, sizeof kSha256Init);
    into[i] = states[i], from[i] = messages[i].data();
  }
  sha256_blocks(kMaxLanes, into, from, 1);
  std::uint8_t tail[128];
  sha256_pad(nullptr, 0, 64, tail);
  for (const std::uint8_t*& data : from) data = tail;  // all lanes may read the same bytes
  sha256_blocks(kMaxLanes, into, from, 1);
  for (unsigned i = 0; i < kMaxLanes; ++i) {
    std::uint8_t digest[32];
    sha256_store_digest(states[i], digest);
    if (hex(digest, 32) != hex(reference.digest(messages[i]))) return "message " + std::to_string(i) + " is wrong";
  }
  return {};
}

}  // namespace offloop::hash::checks
