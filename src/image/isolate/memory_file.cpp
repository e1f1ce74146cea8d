#include "image/isolate/memory_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace offloop::image::isolate {

Result<MemoryFile> MemoryFile::make(const char* name) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd)
    return Error(ErrorCode::kIo, std::string("no memory file could be made: ") + std::strerror(errno), {}, errno);
  return MemoryFile(std::move(fd));
}

int MemoryFile::write(ByteSpan data) noexcept {
  for (std::size_t at = 0; at < data.size();) {
    const ssize_t n = ::pwrite(fd_.get(), data.data() + at, data.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : ENOSPC;
    at += static_cast<std::size_t>(n);
  }
  return 0;
}

Result<std::vector<std::uint8_t>> MemoryFile::read(std::size_t offset, std::size_t bytes) const {
  const auto shorter = [] {
    return Error(ErrorCode::kDecoderCrash, "the isolated decoder's result is shorter than it said");
  };
  // Asked first: a decoder that lies about a size must not make us allocate it.
  struct stat now {};
  if (::fstat(fd_.get(), &now) != 0 || static_cast<std::uint64_t>(now.st_size) < offset + bytes) return shorter();
  std::vector<std::uint8_t> data(bytes);
  for (std::size_t at = 0; at < bytes;) {
    const ssize_t n = ::pread(fd_.get(), data.data() + at, bytes - at, static_cast<off_t>(offset + at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return shorter();
    at += static_cast<std::size_t>(n);
  }
  return data;
}

void MemoryFile::shrink() noexcept {
  constexpr off_t kKept = 4 << 20;
  struct stat now {};
  if (::fstat(fd_.get(), &now) == 0 && now.st_size > kKept) (void)!::ftruncate(fd_.get(), kKept);
}

}  // namespace offloop::image::isolate
