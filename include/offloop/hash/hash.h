// Hashing for C++ programs: start it, then get(), then() or co_await the operation.
#pragma once

#include <optional>
#include <string>

#include "offloop/hash/digest.h"
#include "offloop/runtime/operation.h"

namespace offloop::hash {

/// SHA-256 of `data`, which must live and stay unchanged until the operation has ended. Concurrent ones share SIMD
/// lanes. Errors: kPoolClosed, kOutOfMemory, kStopped. [any thread; on a worker it runs at once]
Operation<Digest> sha256(ByteSpan data);

/// As sha256, by any algorithm of Algorithm::names(). Errors: kInvalidArgument for an unknown name. [any thread]
Operation<Digest> digest(ByteSpan data, std::string_view algorithm);

/// Of a file's content, read in blocks of 256 KiB by reader threads, never whole in memory. Errors: kIo with errno and
/// the path (also for a folder: EISDIR). [any thread but a worker]
Operation<Digest> file_digest(std::string path, std::string_view algorithm = "sha256");

/// SHA-256 on the calling thread, now. Of size 0 when self_test_error() says why. [any thread]
Digest sha256_now(ByteSpan data) noexcept;
/// The same by any algorithm; nothing when OpenSSL fails. [any thread]
std::optional<Digest> digest_now(ByteSpan data, const Algorithm& algorithm) noexcept;

}  // namespace offloop::hash
