// Chunks: the buffers in which a message arrives that is never in memory as a whole.
#pragma once

#include <cstddef>
#include <cstdint>

namespace offloop::hash {

/// A reader's or a download's piece. 256 KiB: large enough that a lane runs four quanta on it, small enough that four
/// of them for each of 64 transfers stay below 64 MiB.
inline constexpr std::size_t kChunkBytes = 256 * 1024;

struct Chunk {
  Chunk* next = nullptr;
  std::size_t size = 0;  ///< bytes in use
  std::size_t capacity = 0;
  std::uint8_t* data() noexcept { return reinterpret_cast<std::uint8_t*>(this) + kHeaderBytes; }

  static constexpr std::size_t kHeaderBytes = 64;  // keeps data() aligned for the kernels
};

/// A chunk with room for `capacity` bytes; those of kChunkBytes come from a free list. Null when memory is out. [any
/// thread]
Chunk* make_chunk(std::size_t capacity) noexcept;
void free_chunk(Chunk* chunk) noexcept;

}  // namespace offloop::hash
