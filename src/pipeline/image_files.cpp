#include "pipeline/image_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace offloop::pipeline {
namespace {

Error io_error(const char* doing, const std::string& path, int error) {
  return {ErrorCode::kIo, std::string("cannot ") + doing + ": " + std::strerror(error), path, error};
}

/// Closed when it goes out of scope.
class File {
 public:
  explicit File(int fd) noexcept : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }
  /// False with errno.
  bool close() noexcept { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

Error too_large(const std::string& path, std::uint64_t size, std::uint64_t max_bytes) {
  return {ErrorCode::kImageLimit,
          "the input has " + std::to_string(size) + " bytes, max_bytes allows " + std::to_string(max_bytes), path};
}

bool write_all(int fd, ByteSpan data) noexcept {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) data = data.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Result<fetch::OwnedBytes> read_picture_file(const std::string& path, std::uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe nobody writes to must not wait; it changes nothing for a regular file.
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return io_error("open", path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return io_error("stat", path, errno);
  if (S_ISDIR(status.st_mode)) return io_error("read", path, EISDIR);
  if (!S_ISREG(status.st_mode)) return io_error("read what is not a regular file", path, EINVAL);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) return too_large(path, size, max_bytes);

  fetch::OwnedBytes bytes;
  if (!bytes.reserve(size)) return Error(ErrorCode::kOutOfMemory, "out of memory for the file", path);
  std::uint8_t block[64 * 1024];
  while (true) {
    const ssize_t n = ::read(file.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("read", path, errno);
    if (n == 0) return bytes;
    if (!bytes.append({block, static_cast<std::size_t>(n)}))
      return Error(ErrorCode::kOutOfMemory, "out of memory for the file", path);
    if (bytes.size() > max_bytes) return too_large(path, bytes.size(), max_bytes);  // it grew meanwhile
  }
}

Result<Unit> write_picture_file(const std::string& path, ByteSpan data) {
  const std::string part = path + ".part";
  File file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (file.get() < 0) return io_error("open", path, errno);
  const char* doing = nullptr;
  if (!write_all(file.get(), data)) {
    doing = "write";
  } else if (!file.close()) {
    doing = "close";
  } else if (::rename(part.c_str(), path.c_str()) != 0) {
    doing = "rename";
  }
  if (doing == nullptr) return Unit{};
  const int error = errno;
  ::unlink(part.c_str());
  return io_error(doing, path, error);
}

}  // namespace offloop::pipeline
