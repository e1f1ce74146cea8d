// One picture's time with libvips: what it owns, how it is stopped, what went wrong.
#pragma once

#include <vips/vips.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "offloop/base/error.h"
#include "offloop/image/stop.h"

namespace offloop::image::vips {

struct Unref {
  void operator()(VipsImage* image) const noexcept { g_object_unref(image); }
};
/// Images are immutable and counted by GObject; this holds one count.
using Image = std::unique_ptr<VipsImage, Unref>;

/// Starts libvips; once, under the loader's guard.
bool start_libvips();

/// Counts as running until it goes; at its end this thread's buffers of libvips are freed.
class Session {
 public:
  explicit Session(const Stop& stop) noexcept;
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// What is made of `source` from now on is given up when a stop is requested. Keeps it. May throw std::bad_alloc.
  void watch(VipsImage* source);

  /// The same picture, that looks for a stop whenever rows of it are asked for: an evaluation reports only what comes
  /// out of it, and a few rows of a small result are hundreds of a large source. Null when libvips fails. Watches
  /// `source`.
  Image guarded(VipsImage* source);

  /// kOk, kStopped or kTimeout: by now.
  ErrorCode requested() noexcept;
  /// A failed call's error: of the stop if there was one, else `code` with `what` and libvips' words. Those are from a
  /// buffer that all threads share, and may be another picture's: nothing is decided by them.
  Error failure(ErrorCode code, const std::string& what);

 private:
  static int on_rows(VipsRegion* out, void* sequence, void* source, void* session, gboolean* stop);
  static void on_eval(VipsImage* image, VipsProgress* progress, Session* session) noexcept;

  const Stop& stop_;
  std::atomic<ErrorCode> stopped_{ErrorCode::kOk};
  struct Watched {
    Image image;
    gulong handler = 0;
  };
  std::vector<Watched> watched_;
};

}  // namespace offloop::image::vips
