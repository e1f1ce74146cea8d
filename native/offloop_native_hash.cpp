// offloop-native-hash PATH...             SHA-256 of files, in sha256sum's format
// offloop-native-hash --random N BYTES    hashes N random payloads of that size at once, and says how fast
//
// The native variant of `offloop hash`: what the core does without Python in front.
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "offloop/hash/hash.h"

namespace {

constexpr int kExitOk = 0;
constexpr int kExitSomeFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitOutputFailed = 4;

/// Files in flight: enough to fill the lanes of many workers, few enough to keep descriptors and blocks bounded.
constexpr std::size_t kMaxFilesInFlight = 64;

int usage() {
  std::fputs("usage: offloop-native-hash PATH...\n       offloop-native-hash --random N BYTES\n", stderr);
  return kExitUsage;
}

/// A name as sha256sum writes it: backslash, newline and carriage return escaped, and then a backslash before the line.
std::string sums_line(const std::string& hex, std::string_view name) {
  std::string escaped;
  for (const char c : name) {
    if (c == '\\')
      escaped += "\\\\";
    else if (c == '\n')
      escaped += "\\n";
    else if (c == '\r')
      escaped += "\\r";
    else
      escaped += c;
  }
  return (escaped.size() == name.size() ? "" : "\\") + hex + "  " + escaped + "\n";
}

struct FileInFlight {
  std::string path;
  offloop::Operation<offloop::hash::Digest> operation;
};

/// Prints one result; false when it is an error.
bool report(FileInFlight& file) {
  auto digest = file.operation.get();
  if (!digest.ok()) {
    std::fprintf(stderr, "offloop-native-hash: %s: %s\n", file.path.c_str(), digest.error().message.c_str());
    return false;
  }
  std::fputs(sums_line(digest.value().hex(), file.path).c_str(), stdout);
  return true;
}

int hash_files(int n, char** paths) {
  std::deque<FileInFlight> in_flight;
  bool all_ok = true;
  for (int i = 0; i < n; ++i) {
    if (in_flight.size() == kMaxFilesInFlight) {
      all_ok &= report(in_flight.front());
      in_flight.pop_front();
    }
    in_flight.push_back({paths[i], offloop::hash::file_digest(paths[i])});
  }
  for (FileInFlight& file : in_flight) all_ok &= report(file);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::perror("offloop-native-hash: cannot write the output");
    return kExitOutputFailed;
  }
  return all_ok ? kExitOk : kExitSomeFailed;
}

std::vector<std::uint8_t> random_bytes(std::size_t size) {
  std::mt19937_64 generator(size);  // the same every time, so that two runs can be compared
  std::vector<std::uint8_t> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  return bytes;
}

int hash_random(std::size_t count, std::size_t size) {
  // One buffer, another start for each payload: many payloads without the memory of many.
  constexpr std::size_t kStarts = 4096;
  const std::vector<std::uint8_t> bytes = random_bytes(size + kStarts);
  const auto payload = [&](std::size_t i) { return offloop::ByteSpan(bytes.data() + i % kStarts, size); };

  const auto start = std::chrono::steady_clock::now();
  std::vector<offloop::Operation<offloop::hash::Digest>> operations;
  operations.reserve(count);
  for (std::size_t i = 0; i < count; ++i) operations.push_back(offloop::hash::sha256(payload(i)));
  std::vector<offloop::hash::Digest> digests;
  digests.reserve(count);
  for (auto& operation : operations) {
    auto digest = operation.get();
    if (!digest.ok()) {
      std::fprintf(stderr, "offloop-native-hash: %s\n", digest.error().message.c_str());
      return kExitSomeFailed;
    }
    digests.push_back(digest.value());
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  // Every digest is checked, one payload at a time on this thread: a speed without an answer says nothing.
  for (std::size_t i = 0; i < count; ++i) {
    if (offloop::hash::sha256_now(payload(i)) == digests[i]) continue;
    std::fprintf(stderr, "offloop-native-hash: payload %zu: wrong digest %s\n", i, digests[i].hex().c_str());
    return kExitSomeFailed;
  }
  std::printf("%zu payloads of %zu bytes in %.3f s: %.0f hashes/s, %.2f GB/s\n", count, size, seconds,
              static_cast<double>(count) / seconds, static_cast<double>(count * size) / seconds / 1e9);
  return kExitOk;
}

bool parse(const char* text, std::size_t* value) {
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, *value);
  return error == std::errc() && rest == end;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || std::strcmp(argv[1], "--help") == 0) return usage();
  if (std::strcmp(argv[1], "--random") != 0) return hash_files(argc - 1, argv + 1);
  std::size_t count = 0;
  std::size_t size = 0;
  if (argc != 4 || !parse(argv[2], &count) || !parse(argv[3], &size) || count == 0) return usage();
  return hash_random(count, size);
}
