// How many CPUs this process may really use: the affinity mask, the cgroup's quota, and OFFLOOP_THREADS above both.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "offloop/runtime/pool.h"
#include "topology.h"

namespace offloop::runtime {
namespace {

constexpr unsigned kMaxThreads = 1024;

unsigned affinity_cpus() noexcept {
  // Larger than cpu_set_t's 1024 CPUs only on machines that nobody has shown us; the call then fails and we say 1.
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

bool read_line(const std::string& path, char* out, int size) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return false;
  const bool ok = std::fgets(out, size, file) != nullptr;
  std::fclose(file);
  return ok;
}

/// Whether a comma-separated list has this entry ("cpu" is in "cpu,cpuacct", not in "cpuset").
bool lists(std::string_view list, std::string_view entry) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (list.substr(0, comma) == entry) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

/// This process's folder in a cgroup hierarchy: the third field of its line in /proc/self/cgroup.
std::string cgroup_path(const std::string& root, const char* controller) {
  std::FILE* file = std::fopen((root + "/proc/self/cgroup").c_str(), "re");
  if (file == nullptr) return "/";
  std::string path = "/";
  char line[4096];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    char* controllers = std::strchr(line, ':');
    char* name = controllers != nullptr ? std::strchr(controllers + 1, ':') : nullptr;
    if (name == nullptr) continue;
    *name++ = '\0';
    ++controllers;
    name[std::strcspn(name, "\n")] = '\0';
    const bool unified = *controllers == '\0';
    if (*controller == '\0' ? unified : lists(controllers, controller)) path = name;
  }
  std::fclose(file);
  return path;
}

/// CPUs of the tightest quota from the process's cgroup up to the root, or infinity.
double quota_in(const std::string& root, std::string path, bool v2) {
  double cpus = HUGE_VAL;
  while (true) {
    char line[128];
    double quota = -1;
    double period = 0;
    const std::string folder = root + (path == "/" ? "" : path);
    if (v2) {
      if (read_line(folder + "/cpu.max", line, sizeof line) && std::sscanf(line, "%lf %lf", &quota, &period) == 2 &&
          period > 0)
        cpus = std::min(cpus, quota / period);
    } else if (read_line(folder + "/cpu.cfs_quota_us", line, sizeof line) && std::sscanf(line, "%lf", &quota) == 1 &&
               quota > 0 && read_line(folder + "/cpu.cfs_period_us", line, sizeof line) &&
               std::sscanf(line, "%lf", &period) == 1 && period > 0) {
      cpus = std::min(cpus, quota / period);
    }
    if (path.empty() || path == "/") return cpus;
    path.erase(path.find_last_of('/'));
  }
}

}  // namespace

double cgroup_cpus(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  const std::string v1 = cgroup_path(root, "cpu");
  return std::min({quota_in(mounts, cgroup_path(root, ""), true), quota_in(mounts + "/cpu", v1, false),
                   quota_in(mounts + "/cpu,cpuacct", v1, false)});
}

unsigned usable_cpus(unsigned in_mask, double quota) noexcept {
  const double whole = std::ceil(std::min(quota, static_cast<double>(kMaxThreads)));
  return std::clamp(std::min(in_mask, static_cast<unsigned>(std::max(1.0, whole))), 1U, kMaxThreads);
}

unsigned available_cpus() noexcept {
  try {
    return usable_cpus(affinity_cpus(), cgroup_cpus(""));
  } catch (const std::exception&) {  // out of memory, or a /proc that looks like no other
    return affinity_cpus();
  }
}

unsigned default_threads() noexcept {
  if (const char* text = std::getenv("OFFLOOP_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const long wanted = std::strtol(text, &end, 10);
    if (*end == '\0' && wanted > 0) return static_cast<unsigned>(std::min<long>(wanted, kMaxThreads));
  }
  return available_cpus();
}

}  // namespace offloop::runtime
