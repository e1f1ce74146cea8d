#include "offloop/hash/stream.h"

#include <new>

#include "evp.h"
#include "offloop/base/counters.h"

namespace offloop::hash {

void FreeStream::operator()(StreamWork* stream) const noexcept {
  count_freed(Counted::kStream);
  if (stream->group == &evp_group()) {
    delete static_cast<EvpWork*>(stream);
  } else {
    delete static_cast<Sha256Work*>(stream);
  }
}

StreamHandle make_stream(const Algorithm& algorithm) noexcept {
  StreamWork* stream = nullptr;
  if (algorithm.has_lanes()) {
    auto* work = new (std::nothrow) Sha256Work;
    if (work != nullptr) work->reset(sha256_group());
    stream = work;
  } else {
    auto* work = new (std::nothrow) EvpWork(static_cast<const EVP_MD*>(algorithm.evp()));
    if (work != nullptr) work->group = &evp_group();
    stream = work;
  }
  if (stream != nullptr) count_made(Counted::kStream);
  return StreamHandle(stream);
}

void set_stream_span(StreamWork& stream, ByteSpan span, bool is_last) noexcept {
  if (stream.group != &evp_group()) return static_cast<Sha256Work&>(stream).set_span(span, is_last);
  stream.data = span.data();
  stream.size = span.size();
  stream.last = is_last;
  stream.cost_ns = 1'000 + 4 * sha256_cost_ns(span.size());  // EVP's algorithms run at 0.4 to 1 GB/s
}

}  // namespace offloop::hash
