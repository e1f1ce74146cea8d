#include "image/isolate/program_path.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string_view>

namespace offloop::image::isolate {

std::string program_path() {
  constexpr std::string_view kName = "offloop-decoder";
  // Not from the environment of a program with more rights than who started it.
  if (const char* set = ::secure_getenv("OFFLOOP_DECODER"); set != nullptr && *set != '\0') return set;
  Dl_info self{};
  if (::dladdr(reinterpret_cast<const void*>(&program_path), &self) == 0 || self.dli_fname == nullptr)
    return std::string(kName);
  const std::string_view library = self.dli_fname;
  const std::size_t slash = library.rfind('/');
  if (slash == std::string_view::npos) return "./" + std::string(kName);
  return std::string(library.substr(0, slash + 1)) + std::string(kName);
}

}  // namespace offloop::image::isolate
