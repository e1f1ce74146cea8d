// A file that exists in memory only, shared with the decoder by its descriptor. It is never mapped here: the other side
// may cut it at any moment, and a mapping would then raise SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "image/isolate/fd.h"
#include "offloop/base/bytes.h"
#include "offloop/base/result.h"

namespace offloop::image::isolate {

class MemoryFile {
 public:
  /// kIo. May throw std::bad_alloc.
  static Result<MemoryFile> make(const char* name);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  void close() noexcept { fd_.reset(); }

  /// From its beginning. 0 or an errno.
  int write(ByteSpan data) noexcept;
  /// Exactly so many bytes from `offset` on; kDecoderCrash when there are fewer. May throw std::bad_alloc.
  [[nodiscard]] Result<std::vector<std::uint8_t>> read(std::size_t offset, std::size_t bytes) const;
  /// Gives memory back that a large picture has left in it.
  void shrink() noexcept;

 private:
  explicit MemoryFile(Fd fd) noexcept : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace offloop::image::isolate
