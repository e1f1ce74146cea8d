// What this process has: children, zombies, descriptors.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace offloop::testing {

/// State ('R', 'S', 'Z' ...) and parent of a process; {0, 0} when there is none of that number.
inline std::pair<char, pid_t> state_and_parent(pid_t pid) {
  std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "re");
  if (file == nullptr) return {0, 0};
  char line[512] = {};
  char state = 0;
  int parent = 0;
  const char* after_name = std::fgets(line, sizeof line, file) != nullptr ? std::strrchr(line, ')') : nullptr;
  std::fclose(file);
  if (after_name == nullptr || std::sscanf(after_name, ") %c %d", &state, &parent) != 2) return {0, 0};
  return {state, parent};
}

/// Pid and state of each child of `parent`.
inline std::vector<std::pair<pid_t, char>> children_of(pid_t parent) {
  std::vector<std::pair<pid_t, char>> found;
  DIR* all = ::opendir("/proc");
  while (const dirent* entry = ::readdir(all)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    const auto [state, its_parent] = state_and_parent(pid);
    if (state != 0 && its_parent == parent) found.emplace_back(pid, state);
  }
  ::closedir(all);
  return found;
}

/// The processes that this one has pidfds of. Much faster than a look at all there are.
inline std::vector<pid_t> pidfd_processes() {
  std::vector<pid_t> found;
  DIR* all = ::opendir("/proc/self/fdinfo");
  while (const dirent* entry = ::readdir(all)) {
    std::FILE* file = std::fopen((std::string("/proc/self/fdinfo/") + entry->d_name).c_str(), "re");
    if (file == nullptr) continue;
    char line[128] = {};
    int pid = 0;
    while (std::fgets(line, sizeof line, file) != nullptr) {
      if (std::sscanf(line, "Pid: %d", &pid) == 1 && pid > 0) found.push_back(pid);
    }
    std::fclose(file);
  }
  ::closedir(all);
  return found;
}

inline std::size_t zombies() {
  std::size_t n = 0;
  for (const auto& [pid, state] : children_of(::getpid())) n += state == 'Z' ? 1 : 0;
  return n;
}

inline std::size_t open_descriptors() {
  std::size_t n = 0;
  DIR* all = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(all)) n += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(all);
  return n - 1;  // without the folder itself
}

}  // namespace offloop::testing
