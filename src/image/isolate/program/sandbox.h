// The decoder process shuts itself in. One way: none of this can be undone.
#pragma once

#include <sys/types.h>

#include "image/isolate/wire.h"

namespace offloop::image::isolate {

/// A step that failed, with errno; kNone when all went well.
struct SetupResult {
  Setup failed = Setup::kNone;
  int system = 0;
};

/// At the start, before anything else is opened or read: die with the parent (whose id it gives; it may have died
/// already), own no descriptors but those of wire.h, be the first one that the kernel kills when memory runs out.
SetupResult leave_the_parent(pid_t parent) noexcept;

/// After everything that is opened or made on first use has been: no new privileges, no files, no core dumps, Landlock
/// with an empty set (`landlock`: its version; 0: the kernel has none, which is fine), and the system call filter,
/// without which it fails. From here on anything but decoding ends the process with SIGSYS. CPU time, memory and file
/// sizes are limited by the parent, picture by picture.
SetupResult shut_in(std::uint8_t& landlock) noexcept;

}  // namespace offloop::image::isolate
