// The one signal that parent and decoder agree on.
#pragma once

#include <csignal>

namespace offloop::image::isolate {

/// What a decoder gets when the thread that started it has ended, be it with its process or alone. Nobody else sends
/// it, so that a parent which is still there knows: not the picture's fault.
inline int parent_gone_signal() noexcept {
  return SIGRTMAX;
}

}  // namespace offloop::image::isolate
