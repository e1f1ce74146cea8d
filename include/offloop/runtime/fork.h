// Forks, counted. A forked child has none of our threads; what was made before the fork is recognised by its generation and left alone.
#pragma once

#include <cstdint>

namespace offloop::runtime {

/// How often this process is a fork of a process that used offloop. The child handler only adds one to it. [any thread]
std::uint32_t fork_generation() noexcept;

}  // namespace offloop::runtime
