// Runs a fuzz target without libFuzzer: on the files named, or with `--mutate SEED ROUNDS` on seeded mutations of them.
// For compilers that have no libFuzzer, for regressions, and for a short run with every `make test`.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes content(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path);
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A few bytes changed, a piece cut out, doubled or cut off.
Bytes mutated(Bytes bytes, std::mt19937& random) {
  for (unsigned n = 1 + static_cast<unsigned>(random() % 4); n > 0 && !bytes.empty(); --n) {
    const auto at = static_cast<std::ptrdiff_t>(random() % bytes.size());
    const auto rest = static_cast<std::ptrdiff_t>(bytes.size()) - at;
    const auto length = static_cast<std::ptrdiff_t>(random() % 64) % (rest + 1);
    switch (random() % 6) {
      case 0:
        bytes.erase(bytes.begin() + at, bytes.begin() + at + length);
        break;
      case 1: {
        const Bytes piece(bytes.begin() + at, bytes.begin() + at + length);
        bytes.insert(bytes.begin() + at, piece.begin(), piece.end());
        break;
      }
      case 2:
        bytes.resize(static_cast<std::size_t>(at));
        break;
      default:
        bytes[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(random());
    }
  }
  return bytes;
}

}  // namespace

int main(int count, char** arguments) {
  int first = 1;
  unsigned seed = 0;
  int rounds = 0;
  if (count > 3 && std::strcmp(arguments[1], "--mutate") == 0) {
    seed = static_cast<unsigned>(std::atoi(arguments[2]));
    rounds = std::atoi(arguments[3]);
    first = 4;
  }
  std::mt19937 random(seed);
  int runs = 0;
  for (int i = first; i < count; ++i) {
    const Bytes whole = content(arguments[i]);
    LLVMFuzzerTestOneInput(whole.data(), whole.size());
    ++runs;
    for (int round = 0; round < rounds; ++round, ++runs) {
      const Bytes bytes = mutated(whole, random);
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
  }
  std::printf("%d runs\n", runs);
  return runs == 0 ? 2 : 0;
}
