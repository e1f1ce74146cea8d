#include "image/isolate/program/serve.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "image/isolate/program/sandbox.h"
#include "image/isolate/wire.h"

namespace offloop::image::isolate {
namespace {

// What is said with exit codes, because there is no other way left.
constexpr int kOver = 0;  // the parent has closed its end
constexpr int kUsage = 2;
constexpr int kNotUnderstood = 3;
constexpr int kCannotSpeak = 4;

bool say(const std::vector<std::uint8_t>& message) noexcept {
  ssize_t n = 0;
  do {
    n = ::write(kSocketFd, message.data(), message.size());
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(message.size());
}

/// The picture, mapped and not copied. The parent leaves it alone until it has our answer.
class Input {
 public:
  explicit Input(std::uint64_t size) noexcept : size_(static_cast<std::size_t>(size)) {
    if (size_ != 0) map_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, kInputFd, 0);
  }
  ~Input() {
    if (size_ != 0 && map_ != MAP_FAILED) ::munmap(map_, size_);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  [[nodiscard]] bool ok() const noexcept { return map_ != MAP_FAILED; }
  [[nodiscard]] ByteSpan bytes() const noexcept { return {static_cast<const std::uint8_t*>(map_), size_}; }

 private:
  std::size_t size_;
  void* map_ = nullptr;
};

ErrorCode write_output(const std::vector<std::uint8_t>& data) noexcept {
  for (std::size_t at = 0; at < data.size();) {
    const ssize_t n = ::pwrite(kOutputFd, data.data() + at, data.size() - at, static_cast<off_t>(kResultAt + at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ErrorCode::kOutOfMemory;
    at += static_cast<std::size_t>(n);
  }
  return ErrorCode::kOk;
}

/// From here on our death is the picture's. That the socket is empty does not say so: the kernel also takes a message
/// out of it for a process that has been killed and will never see it.
bool mark_begun(std::uint64_t id) noexcept {
  return ::pwrite(kOutputFd, &id, sizeof id, 0) == sizeof id;
}

Answer answer_to(const Request& request, ProcessFunction process) noexcept {
  Answer answer;
  answer.id = request.id;
  const Input input(request.size);
  if (!mark_begun(request.id) || !input.ok()) {
    answer.error.code = ErrorCode::kOutOfMemory;
    return answer;
  }
  Result<Processed> result = process(input.bytes(), request.recipe, Stop(nullptr, request.deadline_ns));
  if (!result.ok()) {
    answer.error = std::move(result).error();
    return answer;
  }
  const Processed& done = result.value();
  answer.error.code = write_output(done.data);
  answer.size = done.data.size();
  answer.format = done.format;
  answer.width = done.width;
  answer.height = done.height;
  answer.frames = done.frames;
  answer.input = done.input;
  return answer;
}

int serve(ProcessFunction process) {
  static std::uint8_t buffer[kMaxMessageBytes];
  while (true) {
    const ssize_t n = ::read(kSocketFd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return kOver;
    const auto request = decode_request({buffer, static_cast<std::size_t>(n)});
    if (!request) return kNotUnderstood;
    if (!say(encode(answer_to(*request, process)))) return kCannotSpeak;
  }
}

void complain() noexcept {
  constexpr std::string_view kWords = "offloop-decoder: started by offloop itself, for isolate=True; of no use alone\n";
  (void)!::write(STDERR_FILENO, kWords.data(), kWords.size());
}

/// What a picture frees is kept for the next one, up to this: to get it from the kernel again costs a tenth of a large
/// picture.
void keep_memory() noexcept {
  constexpr int kKeptBytes = 32 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kKeptBytes / 2);
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
}

int run(int argc, char** argv, void (*warm_up)(), ProcessFunction process) {
  char* end = nullptr;
  const long parent = argc == 2 ? std::strtol(argv[1], &end, 10) : 0;
  if (parent <= 0 || *end != '\0') {
    complain();
    return kUsage;
  }
  Hello hello;
  SetupResult setup = leave_the_parent(static_cast<pid_t>(parent));
  if (setup.failed == Setup::kNone) {
    keep_memory();
    warm_up();
    setup = shut_in(hello.landlock);
  }
  hello.failed = setup.failed;
  hello.system = setup.system;
  if (!say(encode(hello)) || hello.failed != Setup::kNone) return kCannotSpeak;
  return serve(process);
}

}  // namespace

void decoder_main(int argc, char** argv, void (*warm_up)(), ProcessFunction process) noexcept {
  int code = kCannotSpeak;
  try {
    code = run(argc, argv, warm_up, process);
  } catch (...) {  // NOLINT(bugprone-empty-catch): not even memory for an answer
  }
  while (true) ::syscall(SYS_exit_group, code);
}

}  // namespace offloop::image::isolate
