// How many CPUs this process may really use, from parts that a test can make up.
#pragma once

#include <string>

namespace offloop::runtime {

/// CPUs of the tightest cgroup quota (v1 and v2, from the process's own group up to the root); infinity without one.
/// `root` stands before /proc and /sys: empty, or a tree of a test's.
double cgroup_cpus(const std::string& root);

/// Whole CPUs of a mask of so many and a quota of so many: the quota rounded up, at least 1, at most 1024.
unsigned usable_cpus(unsigned in_mask, double quota) noexcept;

}  // namespace offloop::runtime
