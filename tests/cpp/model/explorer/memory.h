// Memory as C++20 has it: each atomic object keeps all the values it ever had, in modification order, and a load may
// return an old one as long as coherence, happens-before and the total order of seq_cst operations allow it.
//
// Left out, and why that is enough here:
// - Load buffering: a load returns a store that has been executed. Compilers and CPUs that we support do not show it
// for
//   protocols whose stores do not depend on nothing; no operational explorer of this size has it.
// - A modification order that differs from the order of execution. It can differ only for stores (not
// read-modify-writes)
//   that race with each other; such a store is reported as an error, so nothing is lost silently.
// - Executions in which the order of seq_cst operations contradicts happens-before (C++20 allows them for the sake of
//   POWER), and fences: the protocols use none.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace offloop::model {

inline constexpr unsigned kMaxThreads = 5;  ///< 0 is the one that sets up and checks at the end
inline constexpr unsigned kMaxLocations = 32;

inline constexpr bool acquires(std::memory_order order) {
  return order != std::memory_order_relaxed && order != std::memory_order_release;
}
inline constexpr bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

inline constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15U + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccdU;
  return hash ^ (hash >> 32);
}

/// What happens before a point of a thread: how far each thread had come (a vector clock), and of each atomic object
/// the oldest value that may still be read.
struct Knowledge {
  std::array<std::uint16_t, kMaxThreads> clock{};
  std::array<std::uint8_t, kMaxLocations> floor{};

  void join(const Knowledge& other) {
    for (unsigned i = 0; i < kMaxThreads; ++i) clock[i] = clock[i] < other.clock[i] ? other.clock[i] : clock[i];
    for (unsigned i = 0; i < kMaxLocations; ++i) floor[i] = floor[i] < other.floor[i] ? other.floor[i] : floor[i];
  }
};

/// One value that an atomic object has had, and what its reader learns if it acquires.
struct Message {
  std::uint64_t value = 0;
  std::uint64_t id = 0;  ///< who wrote it and when in its own count: the same in all equivalent interleavings
  bool released = false;
  Knowledge knowledge;
};

class Memory {
 public:
  struct Thread {
    Knowledge known;
    std::uint16_t now = 1;      ///< its own clock; one tick after each operation
    std::uint64_t history = 0;  ///< everything it has read so far, hashed: decides what it does next
  };
  struct Location {
    std::vector<Message> messages;
    unsigned newest = 0;
    unsigned sc_floor = 0;  ///< a later seq_cst load must not read anything older
    std::uint64_t hash = 0;
    std::array<std::uint16_t, kMaxThreads> last_access{};
    bool alive = false;
    const char* name = nullptr;
  };

  void reset();
  unsigned add(unsigned thread, std::uint64_t value);
  /// False when some access does not happen before this end.
  bool remove(unsigned thread, unsigned location);

  [[nodiscard]] unsigned newest(unsigned location) const { return locations[location].newest; }
  [[nodiscard]] unsigned oldest_readable(unsigned thread, unsigned location, std::memory_order order) const;
  std::uint64_t read(unsigned thread, unsigned location, unsigned index, std::memory_order order);
  /// False when the store races with the newest one, see above.
  bool write(unsigned thread, unsigned location, std::uint64_t value, std::memory_order order);
  /// Reads the newest value and replaces it; what a release has begun goes on through it.
  void replace(unsigned thread, unsigned location, std::uint64_t value, std::memory_order order);

  void tick(unsigned thread);
  void note(unsigned thread, std::uint64_t what) { threads[thread].history = mix(threads[thread].history, what); }
  [[nodiscard]] bool happened_before(unsigned thread, unsigned other, std::uint16_t when) const {
    return other == thread || threads[thread].known.clock[other] >= when;
  }

  std::array<Thread, kMaxThreads> threads;
  std::array<Location, kMaxLocations> locations;
  unsigned count = 0;

 private:
  void append(unsigned thread, unsigned location, std::uint64_t value, std::memory_order order,
              const Message* replaced);
};

}  // namespace offloop::model
