// The decoder program with a process() that does what a picture tells it to: a JPEG's first bytes, then a command.
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "image/decoder.h"
#include "image/isolate/program/serve.h"
#include "image/isolate/wire.h"
#include "offloop/runtime/clock.h"

#if defined(__SANITIZE_ADDRESS__)
// Its own handler would speak behind the filter, and a SIGSEGV would become a SIGSYS.
extern "C" [[gnu::used]] const char* __asan_default_options() {
  return "handle_segv=0:handle_abort=0:detect_leaks=0:allocator_may_return_null=1";
}
#endif

namespace {

using namespace offloop;
using namespace offloop::image;
using isolate::Answer;

volatile std::uint64_t g_sink = 0;
volatile int* volatile g_nowhere = nullptr;

/// The input as the result: a picture of one pixel.
Processed echo(ByteSpan data) {
  Processed done;
  done.data.assign(data.begin(), data.end());
  done.format = done.input.format = Format::kJpeg;
  done.width = done.height = done.input.width = done.input.height = 1;
  done.input.channels = 3;
  return done;
}

/// So many milliseconds of CPU time, however many others want it.
void spin(std::int64_t ms) {
  timespec used{};
  const auto now = [&] {
    return ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), used.tv_sec * 1'000'000'000 + used.tv_nsec;
  };
  for (const std::int64_t until = now() + ms * 1'000'000; now() < until;) g_sink = g_sink + 1;
}

/// Without a sanitizer's help.
[[gnu::no_sanitize("address", "undefined", "thread")]] void segv() {
  *g_nowhere = 1;
}

/// Without exit handlers, a sanitizer's among them.
void leave(int code) {
  ::syscall(SYS_exit_group, code);
}

/// Whatever may be had of memory.
Result<Processed> hoard() {
  std::vector<char*> all;
  while (char* block = new (std::nothrow) char[16 << 20]) {
    all.push_back(block);
    block[0] = 1;
  }
  for (const char* block : all) delete[] block;
  return Error(ErrorCode::kOutOfMemory, "no more");
}

void forbidden(std::string_view what) {
  if (what == "open") (void)::open("/etc/passwd", O_RDONLY);
  if (what == "socket") (void)::socket(AF_INET, SOCK_STREAM, 0);
  if (what == "execve") (void)::execl("/bin/true", "true", nullptr);
  if (what == "ptrace") (void)::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  if (what == "fork") (void)::fork();
  if (what == "kill") (void)::kill(::getppid(), 0);
  if (what == "prlimit") (void)::prlimit(0, RLIMIT_AS, nullptr, nullptr);
  if (what == "signals") (void)::signal(SIGXCPU, SIG_IGN);
  if (what == "stderr") (void)!::write(2, "words\n", 6);
  if (what == "input") (void)!::pwrite(isolate::kInputFd, "x", 1, 0);
  if (what == "send descriptor") (void)::send(isolate::kSocketFd, "x", 1, 0);
  if (what == "truncate") (void)!::ftruncate(isolate::kOutputFd, 0);
  if (what == "mprotect") {
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)::mprotect(page, 4096, PROT_READ | PROT_EXEC);
  }
  if (what == "executable memory")
    (void)::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#if defined(__x86_64__)
  // By the 32-bit entry, where other numbers mean other calls: 20 is getpid there.
  if (what == "32 bits") asm volatile("int $0x80" : : "a"(20) : "memory");
#endif
}

/// Says what a decoder would never say, and then the usual.
Result<Processed> lie(ByteSpan data, std::string_view how, std::uint64_t id) {
  Processed done = echo(data);
  if (how == "format") done.format = Format::kGif;
  if (how == "other format") done.format = Format::kPng;
  if (how == "bytes") done.data[0] = 'x';
  if (how == "no bytes") done.data.clear();
  if (how == "no width") done.width = 0;
  if (how == "pixels") done.width = done.height = 60'000;
  if (how == "frames") done.frames = 0xffffffff, done.width = done.height = 50;
  if (how == "input pixels") done.input.width = done.input.height = 60'000;
  if (how == "input format") done.input.format = Format::kPng;
  if (how == "orientation") done.input.orientation = 9;
  if (how == "channels") done.input.channels = 5;
  if (how == "timeout") return Error(ErrorCode::kTimeout, "it is late");
  if (how == "stopped") return Error(ErrorCode::kStopped, "you said so");
  if (how == "fetch error") return Error(ErrorCode::kDns, "no such host");
  if (how == "words") return Error(ErrorCode::kImage, "bro\nken\x1b[31m\xff", std::string(5000, 'c'));
  if (how == "garbage") (void)!::write(isolate::kSocketFd, "garbage", 7);
  if (how == "long") {
    const std::vector<std::uint8_t> much(20'000, 1);
    (void)!::write(isolate::kSocketFd, much.data(), much.size());
  }
  if (how == "another picture" || how == "short") {
    Answer answer{how == "short" ? id : id + 1, {}, data.size(), Format::kJpeg, 1, 1, 1, done.input};
    if (how == "short") answer.size = 100'000'000;
    const auto message = isolate::encode(answer);
    (void)!::write(isolate::kSocketFd, message.data(), message.size());
  }
  return done;
}

std::uint64_t g_pictures = 0;

Result<Processed> obey(ByteSpan data, const Recipe& recipe, const Stop& stop) {
  std::string_view command(reinterpret_cast<const char*>(data.data()), data.size());
  command.remove_prefix(3);
  if (!command.empty() && command.back() == '\0') command.remove_suffix(1);  // it is there for atoi()
  const auto is = [&](std::string_view name) { return command.substr(0, name.size()) == name; };
  if (is("segv")) segv();
  if (is("abort")) std::abort();
  if (is("exit 0")) leave(0);
  if (is("exit 7")) leave(7);
  if (is("spin ")) spin(std::atoi(command.data() + 5));
  if (is("loop")) spin(3'600'000);
  if (is("hang")) {
    static int word = 0;
    while (true) ::syscall(SYS_futex, &word, FUTEX_WAIT, 0, nullptr, nullptr, 0);
  }
  if (is("until the deadline")) {
    while (stop.requested() == ErrorCode::kOk) g_sink = g_sink + 1;
    return stop_error(stop.requested());
  }
  if (is("hoard")) return hoard();
  if (is("animation")) {
    Processed done = echo(data);
    const std::string_view webp("RIFF\0\0\0\0WEBP", 12);
    done.data.assign(webp.begin(), webp.end());
    done.format = Format::kWebp;
    done.input.frames = 3;
    return done;
  }
  if (is("large result")) {
    Processed done = echo(data);
    done.data.resize(recipe.limits.max_output_pixels * 8 + (160U << 20));
    return done;
  }
  if (is("forbidden ")) forbidden(command.substr(10));
  if (is("lie ")) return lie(data, command.substr(4), g_pictures);
  return echo(data);
}

Result<Processed> obey_and_catch(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept {
  ++g_pictures;
  try {
    return obey(data, recipe, stop);
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto nothing = [] { (void)runtime::now_ns(); };
  isolate::decoder_main(argc, argv, nothing, &obey_and_catch);
}
