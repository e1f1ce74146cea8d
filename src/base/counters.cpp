#include "offloop/base/counters.h"

namespace offloop {

#ifdef OFFLOOP_COUNTERS
std::atomic<std::int64_t> g_live_counts[kCountedKinds];
#endif

const char* counted_name(Counted kind) noexcept {
  switch (kind) {
    case Counted::kOperation:
      return "operations";
    case Counted::kBuffer:
      return "buffers";
    case Counted::kStream:
      return "streams";
    case Counted::kPort:
      return "ports";
    case Counted::kTransfer:
      return "transfers";
    case Counted::kChunk:
      return "chunks";
    case Counted::kThread:
      return "threads";
  }
  return "unknown";
}

}  // namespace offloop
