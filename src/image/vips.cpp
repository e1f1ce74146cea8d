#include "image/vips.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <string>

#include "image/vips/module.h"
#include "offloop/runtime/fork.h"

namespace offloop::image {
namespace {

// Written once, under the guard of g_once; plain data, so that nothing of it is destroyed at exit.
pthread_once_t g_once = PTHREAD_ONCE_INIT;
const VipsModule* g_module = nullptr;
std::uint32_t g_generation = 0;
char g_missing[400] = {};

void set_missing(const char* why) noexcept {
  std::strncpy(g_missing, why == nullptr ? "unknown error" : why, sizeof g_missing - 1);
}

/// Our part lies beside the library that this function is in; tests, which have it in themselves, find it by their
/// search path.
void* open_module() noexcept {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&set_missing), &self) != 0 && self.dli_fname != nullptr) {
    char path[4096];
    const char* slash = std::strrchr(self.dli_fname, '/');
    const std::size_t folder = slash == nullptr ? 0 : static_cast<std::size_t>(slash - self.dli_fname) + 1;
    if (folder + sizeof kVipsModuleFile <= sizeof path) {
      std::memcpy(path, self.dli_fname, folder);
      std::memcpy(path + folder, kVipsModuleFile, sizeof kVipsModuleFile);
      if (access(path, R_OK) == 0) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
  }
  return dlopen(kVipsModuleFile, RTLD_NOW | RTLD_LOCAL);
}

/// Never closed again: libvips cannot be.
void load_module() noexcept {
  void* module = open_module();
  if (module == nullptr) return set_missing(dlerror());
  const auto entry = reinterpret_cast<VipsModuleEntry>(dlsym(module, kVipsModuleEntry));
  const VipsModule* table = entry == nullptr ? nullptr : entry();
  const VipsModule ours{};
  if (table == nullptr || table->version != ours.version || table->recipe_bytes != ours.recipe_bytes ||
      table->processed_bytes != ours.processed_bytes) {
    return set_missing("liboffloop_vips is of another version of offloop");
  }
  try {
    const Result<Unit> started = table->start();
    if (!started.ok()) return set_missing(started.error().message.c_str());
  } catch (const std::bad_alloc&) {
    return set_missing("out of memory");
  }
  g_generation = runtime::fork_generation();
  g_module = table;
}

/// pthread_once begins anew in a child that was forked in the middle of it.
const VipsModule* module() noexcept {
  pthread_once(&g_once, [] { load_module(); });
  return g_module;
}

/// Nothing may be thrown beyond here: workers know no exceptions.
template <class T, class F>
Result<T> with_module(F function) noexcept {
  try {
    const VipsModule* found = module();
    if (found == nullptr) {
      return Error(
          ErrorCode::kUnsupportedFormat,
          std::string(
              "this picture needs libvips 8.13 or later (Debian's package: libvips42), which cannot be loaded: ") +
              g_missing);
    }
    if (g_generation != runtime::fork_generation()) {
      return Error(
          ErrorCode::kUnsupportedFormat,
          "this picture needs libvips, which was used before this process was forked and does not work in a forked "
          "child; start processes by spawn or forkserver");
    }
    return function(*found);
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory, "out of memory for a picture");
  } catch (const std::exception& e) {
    return Error(ErrorCode::kInternal, e.what());
  }
}

}  // namespace

bool vips_available() noexcept {
  return module() != nullptr && g_generation == runtime::fork_generation();
}

Result<Processed> vips_process(ByteSpan data, const Recipe& recipe, const Stop& stop) noexcept {
  return with_module<Processed>([&](const VipsModule& found) { return found.process(data, recipe, stop); });
}

Result<ImageInfo> vips_info(ByteSpan data, const Limits& limits) noexcept {
  return with_module<ImageInfo>([&](const VipsModule& found) { return found.info(data, limits); });
}

}  // namespace offloop::image
