#include "image/isolate/decoder_process.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "image/decoder.h"
#include "image/isolate/program_path.h"
#include "image/isolate/signals.h"
#include "image/isolate/verify.h"
#include "offloop/runtime/clock.h"

namespace offloop::image::isolate {
namespace {

/// How often we look at a stop, a deadline and the CPU clock of a picture that takes longer than this.
constexpr std::int64_t kTickNs = 10'000'000;
/// A decoder knows the deadline and ends by itself; then it need not be started anew. Not later than this, though.
constexpr std::int64_t kGraceNs = 20'000'000;
/// For a program to start; libraries may have to come from a slow disk.
constexpr std::int64_t kStartNs = 30'000'000'000;
/// The kernel's own limit on CPU time is for the case that we are stopped ourselves: it lies above ours by this.
constexpr std::uint64_t kBackstopSeconds = 5;

const char* setup_name(Setup step) noexcept {
  switch (step) {
    case Setup::kParentGone:
      return "be ended with its parent";
    case Setup::kDescriptors:
      return "leave its parent's folder";
    case Setup::kLimits:
      return "set its limits";
    case Setup::kPrivileges:
      return "give up new privileges";
    case Setup::kLandlock:
      return "shut itself out of the file system (Landlock)";
    default:
      return "install its system call filter (seccomp)";
  }
}

std::string seconds(std::int64_t ns) {
  const std::string tenths = std::to_string(ns / 100'000'000);
  return (tenths.size() < 2 ? "0" : tenths.substr(0, tenths.size() - 1)) + "." + tenths.back() + " s";
}

std::uint64_t inode_of(int fd) noexcept {
  struct stat now {};
  return ::fstat(fd, &now) == 0 ? now.st_ino : 0;
}

Error crash(std::string message) {
  return Error(ErrorCode::kDecoderCrash, std::move(message));
}

}  // namespace

DecoderProcess::DecoderProcess(const Options& options, Child child, Fd socket, MemoryFile input,
                               MemoryFile output) noexcept
    : options_(options),
      child_(std::move(child)),
      socket_(std::move(socket)),
      input_(std::move(input)),
      output_(std::move(output)),
      inodes_{inode_of(child_.fd()), inode_of(socket_.get()), inode_of(input_.fd()), inode_of(output_.fd())} {}

// ---- beginning ----------------------------------------------------------------------------------------------------

Result<std::unique_ptr<DecoderProcess>> DecoderProcess::start(const Options& options, const Stop& stop) {
  const std::string program = options.program.empty() ? program_path() : options.program;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Error(ErrorCode::kIo, std::string("no socket for a decoder: ") + std::strerror(errno), program, errno);
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  const timeval tick{0, kTickNs / 1000};
  ::setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
  Result<MemoryFile> input = MemoryFile::make("offloop-picture");
  if (!input.ok()) return std::move(input).error();
  Result<MemoryFile> output = MemoryFile::make("offloop-result");
  if (!output.ok()) return std::move(output).error();
  Result<Child> child = Child::start(program, theirs.get(), input.value().fd(), output.value().fd());
  if (!child.ok()) return std::move(child).error();
  theirs.reset();
  std::unique_ptr<DecoderProcess> decoder(new DecoderProcess(options, std::move(child).value(), std::move(ours),
                                                             std::move(input).value(), std::move(output).value()));
  if (auto failed = decoder->greet(stop)) {
    if (failed->context.empty()) failed->context = program;
    return std::move(*failed);
  }
  return decoder;
}

std::optional<Error> DecoderProcess::greet(const Stop& stop) {
  std::array<std::uint8_t, 256> buffer{};
  Wait wait;
  for (std::int64_t ticks = 0; ticks * kTickNs < kStartNs; ++ticks) {
    const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (n > 0) {
      wait.bytes = static_cast<std::size_t>(n);
      break;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR) || child_.ended()) break;
    if (const ErrorCode code = stop.requested(); code != ErrorCode::kOk) return stop_error(code);
  }
  const ByteSpan message(buffer.data(), wait.bytes);
  if (const auto hello = decode_hello(message)) {
    if (hello->failed == Setup::kNone) return std::nullopt;
    return Error(ErrorCode::kIo,
                 std::string("isolate=True cannot be had here: the decoder could not ") + setup_name(hello->failed) +
                     ": " + std::strerror(hello->system),
                 {}, hello->system);
  }
  if (const auto version = wire_version(message)) {
    return Error(ErrorCode::kIo,
                 "the decoder program belongs to another version of offloop (it speaks version " +
                     std::to_string(*version) + ", this is version " + std::to_string(kWireVersion) + ")",
                 {}, ENOEXEC);
  }
  child_.kill();
  (void)child_.wait(kStartNs);
  if (child_.death().by_signal(SIGKILL) || child_.death().by_signal(parent_gone_signal()))
    return crash("the isolated decoder was ended from outside before it was ready");
  return Error(ErrorCode::kIo,
               "the decoder program for isolate=True ended before it was ready: " + in_words(child_.death()) +
                   " (run it by hand to see whether a library is missing)",
               {}, ENOEXEC);
}

bool DecoderProcess::quiet() const noexcept {
  std::uint8_t byte = 0;
  const ssize_t n = ::recv(socket_.get(), &byte, sizeof byte, MSG_DONTWAIT | MSG_PEEK);
  return n < 0 && (errno == EAGAIN || errno == EINTR);
}

// ---- one picture --------------------------------------------------------------------------------------------------

Attempt DecoderProcess::run(ByteSpan data, Format format, const Recipe& recipe, const Stop& stop) {
  const Budget budget = budget_of(recipe, data.size());
  ++pictures_;
  if (auto refused = hand_over(data, recipe, budget, stop)) return std::move(*refused);
  // One byte more than a message may have, so that a longer one is seen to be longer.
  std::array<std::uint8_t, 4097> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv fills it
  Wait wait = wait_for_message(stop, buffer);
  if (wait.given_up) {
    child_.kill();
    return {std::move(*wait.given_up), false};
  }
  if (wait.bytes == 0) return lost();
  Attempt attempt = judge({buffer.data(), wait.bytes}, format, recipe, budget, stop);
  if (attempt.usable) input_.shrink(), output_.shrink();
  return attempt;
}

std::optional<Attempt> DecoderProcess::hand_over(ByteSpan data, const Recipe& recipe, const Budget& budget,
                                                 const Stop& stop) {
  if (!(budget == budget_) && !set_limits(budget)) {
    if (child_.ended()) return lost();
    return Attempt{
        Error(ErrorCode::kIo, std::string("a decoder's limits could not be set: ") + std::strerror(errno), {}, errno),
        false};
  }
  budget_ = budget;
  if (const int failed = input_.write(data); failed != 0)
    return Attempt{
        Error(ErrorCode::kOutOfMemory, std::string("no memory for the decoder's input: ") + std::strerror(failed)),
        false};
  const std::vector<std::uint8_t> message = encode(Request{++id_, data.size(), stop.deadline_ns(), recipe});
  ssize_t sent = 0;
  do {
    sent = ::send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent != static_cast<ssize_t>(message.size())) return lost();
  return std::nullopt;
}

bool DecoderProcess::set_limits(const Budget& budget) noexcept {
  return child_.limit_memory(budget.memory_bytes) && child_.limit_file_size(budget.output_bytes);
}

DecoderProcess::Wait DecoderProcess::wait_for_message(const Stop& stop, std::span<std::uint8_t> buffer) {
  Wait wait;
  std::int64_t cpu_start_ns = -1;
  for (std::int64_t ticks = 1;; ++ticks) {
    const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (n > 0) {
      wait.bytes = static_cast<std::size_t>(n);
      return wait;
    }
    // A process forked from ours at the wrong moment may keep the other end open: death is not seen on the socket then.
    if (n == 0 || (errno != EAGAIN && errno != EINTR) || child_.ended()) return wait;
    if ((wait.given_up = reason_to_give_up(ticks, cpu_start_ns, stop))) return wait;
  }
}

std::optional<Error> DecoderProcess::reason_to_give_up(std::int64_t ticks, std::int64_t& cpu_start_ns,
                                                       const Stop& stop) {
  const ErrorCode asked = stop.requested();
  if (asked == ErrorCode::kStopped) return stop_error(asked);
  if (asked == ErrorCode::kTimeout && runtime::now_ns() > stop.deadline_ns() + kGraceNs) return stop_error(asked);

  const std::int64_t cpu = child_.cpu_ns();
  if (cpu_start_ns < 0) {  // the first tick: what was used before is not counted, which nobody will miss
    cpu_start_ns = cpu;
    const std::int64_t until_ns = cpu + options_.cpu_ns;
    (void)child_.limit_cpu(static_cast<std::uint64_t>(until_ns / 1'000'000'000) + kBackstopSeconds);
  }
  if (cpu - cpu_start_ns > options_.cpu_ns)
    return crash("the picture took more than " + seconds(options_.cpu_ns) + " of CPU time to decode");
  if (ticks * kTickNs > options_.stuck_ns)
    return crash("the isolated decoder has not answered for " + seconds(options_.stuck_ns));
  return std::nullopt;
}

/// The other end is closed, or the process has gone.
Attempt DecoderProcess::lost() {
  constexpr std::int64_t kEndNs = 50'000'000;
  if (!child_.wait(kEndNs)) {  // closed, but alive
    child_.kill();
    (void)child_.wait(kStartNs);
  }
  if (!begun() || child_.death().by_signal(parent_gone_signal())) return {};
  return {crash("the isolated decoder died of this picture: " + in_words(child_.death())), false};
}

/// Whether it had the last picture in its hands. It could lie, and would get the picture in a new process.
bool DecoderProcess::begun() const {
  const auto mark = output_.read(0, sizeof id_);
  return mark.ok() && std::memcmp(mark.value().data(), &id_, sizeof id_) == 0;
}

Attempt DecoderProcess::judge(ByteSpan message, Format format, const Recipe& recipe, const Budget& budget,
                              const Stop& stop) {
  const auto nonsense = [](const std::string& what) {
    return Attempt{crash("the isolated decoder's answer cannot be: " + what), false};
  };
  std::optional<Answer> answer = decode_answer(message);
  if (!answer) return nonsense("it is not whole");
  if (answer->id != id_) return nonsense("it is about another picture");
  Error& error = answer->error;
  if (error.code == ErrorCode::kOutOfMemory)
    return {crash("the picture needs more memory than its decoder may have (" +
                  std::to_string(mebibytes(budget.memory_bytes)) + " MiB)"),
            false};
  if (error.code == ErrorCode::kTimeout && stop.requested() == ErrorCode::kOk) return nonsense("its time is not over");
  if (error.code != ErrorCode::kOk) {
    if (!may_fail_so(error.code)) return nonsense(std::string("an error of the kind ") + error_code_name(error.code));
    return {Error(error.code, printable(std::move(error.message)), printable(std::move(error.context))), true};
  }
  if (const std::string why = doubt(*answer, recipe, format, budget); !why.empty()) return nonsense(why);
  Result<std::vector<std::uint8_t>> data = output_.read(kResultAt, static_cast<std::size_t>(answer->size));
  if (!data.ok()) return {std::move(data).error(), false};
  if (detect_format(data.value()) != answer->format) return nonsense("its bytes are of another format");
  return {
      Processed{std::move(data).value(), answer->format, answer->width, answer->height, answer->frames, answer->input},
      true};
}

void DecoderProcess::abandon() noexcept {
  const int fds[4] = {child_.fd(), socket_.get(), input_.fd(), output_.fd()};
  for (std::size_t i = 0; i < 4; ++i) {
    // The program may have closed all descriptors and opened others with the same numbers.
    if (fds[i] < 0 || inode_of(fds[i]) != inodes_[i]) return;
  }
  child_.close();
  socket_.reset();
  input_.close();
  output_.close();
}

}  // namespace offloop::image::isolate
