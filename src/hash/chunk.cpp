#include "offloop/hash/chunk.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include "offloop/base/counters.h"
#include "offloop/runtime/fork.h"

namespace offloop::hash {
namespace {

// Kept so that a steady download or read does not map and unmap 256 KiB a block. 64 of them: 16 MiB.
constexpr unsigned kKept = 64;

std::atomic<std::uint32_t> g_lock{0};
Chunk* g_free = nullptr;
unsigned g_free_count = 0;

}  // namespace

Chunk* make_chunk(std::size_t capacity) noexcept {
  if (capacity == kChunkBytes) {
    const runtime::ForkLock lock(g_lock);
    if (Chunk* chunk = g_free; chunk != nullptr) {
      g_free = chunk->next;
      --g_free_count;
      chunk->next = nullptr;
      chunk->size = 0;
      count_made(Counted::kChunk);
      return chunk;
    }
  }
  void* memory = nullptr;
  if (::posix_memalign(&memory, 64, Chunk::kHeaderBytes + capacity) != 0) return nullptr;
  Chunk* chunk = new (memory) Chunk;
  chunk->capacity = capacity;
  count_made(Counted::kChunk);
  return chunk;
}

void free_chunk(Chunk* chunk) noexcept {
  if (chunk == nullptr) return;
  count_freed(Counted::kChunk);
  if (chunk->capacity == kChunkBytes) {
    const runtime::ForkLock lock(g_lock);
    if (g_free_count < kKept) {
      chunk->next = g_free;
      g_free = chunk;
      ++g_free_count;
      return;
    }
  }
  std::free(chunk);
}

}  // namespace offloop::hash
