#include "image/vips/session.h"

#include <vips/vector.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace offloop::image::vips {
namespace {

// libvips' own exit handler takes away what running pictures use: ours, which runs before, ends them and waits a
// little.
std::atomic<int> g_running{0};
std::atomic<bool> g_exiting{false};

void end_running() {
  constexpr auto kLongest = std::chrono::milliseconds(250);
  g_exiting.store(true);
  const auto deadline = std::chrono::steady_clock::now() + kLongest;
  while (g_running.load() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void drop_warning(const gchar* /*domain*/, GLogLevelFlags /*level*/, const gchar* /*text*/, gpointer /*data*/) {}

/// Loaders are chosen by the signature that we have seen, never by libvips; this closes the other way as well.
void block_loaders() {
  vips_operation_block_set("VipsForeignLoad", TRUE);
  for (const char* allowed : {"VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp",
                              "VipsForeignLoadNsgif", "VipsForeignLoadTiff", "VipsForeignLoadHeif"}) {
    vips_operation_block_set(allowed, FALSE);
  }
}

}  // namespace

bool start_libvips() {
  // Who has started libvips before us in this process has a use for it, maybe with the loaders that we have none for.
  const bool ours = g_type_from_name("VipsImage") == 0;
  if (VIPS_INIT("offloop") != 0) return false;
  if (ours) {
    block_loaders();
    // Broken pictures are reported as errors; on the terminal they are nobody's business.
    g_log_set_handler("VIPS", static_cast<GLogLevelFlags>(G_LOG_LEVEL_WARNING | G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG),
                      drop_warning, nullptr);
  }
  // 8.14 makes its SIMD code while it runs, which has crashed under load; later ones have none to switch off.
  if (vips_version(0) == 8 && vips_version(1) <= 14) vips_vector_set_enabled(FALSE);
  vips_concurrency_set(1);  // pictures side by side are our pool's work
  // Operations are remembered by their arguments, and a buffer's address says nothing about what is in it now.
  vips_cache_set_max(0);
  vips_cache_set_max_mem(0);
  vips_cache_set_max_files(0);
  return std::atexit(end_running) == 0;
}

Session::Session(const Stop& stop) noexcept : stop_(stop) {
  g_running.fetch_add(1);
}

Session::~Session() {
  for (const Watched& watched : watched_) g_signal_handler_disconnect(watched.image.get(), watched.handler);
  watched_.clear();
  vips_thread_shutdown();
  g_running.fetch_sub(1);
}

void Session::watch(VipsImage* source) {
  watched_.reserve(watched_.size() + 1);
  g_object_ref(source);
  vips_image_set_progress(source, TRUE);  // what is made of it inherits that
  watched_.push_back({Image(source), g_signal_connect(source, "eval", G_CALLBACK(on_eval), this)});
}

Image Session::guarded(VipsImage* source) {
  watch(source);
  Image out(vips_image_new());
  if (vips_image_pipelinev(out.get(), VIPS_DEMAND_STYLE_THINSTRIP, source, nullptr) != 0 ||
      vips_image_generate(out.get(), vips_start_one, on_rows, vips_stop_one, source, this) != 0) {
    return nullptr;
  }
  return out;
}

/// On one of libvips' threads.
int Session::on_rows(VipsRegion* out, void* sequence, void* /*source*/, void* session, gboolean* /*stop*/) {
  auto* in = static_cast<VipsRegion*>(sequence);
  if (static_cast<Session*>(session)->requested() != ErrorCode::kOk) return -1;
  if (vips_region_prepare(in, &out->valid) != 0) return -1;
  return vips_region_region(out, in, &out->valid, out->valid.left, out->valid.top);
}

ErrorCode Session::requested() noexcept {
  ErrorCode code = stopped_.load(std::memory_order_relaxed);
  if (code == ErrorCode::kOk)
    code = g_exiting.load(std::memory_order_relaxed) ? ErrorCode::kStopped : stop_.requested();
  stopped_.store(code, std::memory_order_relaxed);
  return code;
}

/// After every few lines, on one of libvips' threads.
void Session::on_eval(VipsImage* image, VipsProgress* /*progress*/, Session* session) noexcept {
  if (session->requested() != ErrorCode::kOk) vips_image_set_kill(image, TRUE);
}

Error Session::failure(ErrorCode code, const std::string& what) {
  const std::unique_ptr<char, decltype(&g_free)> text(vips_error_buffer_copy(), g_free);
  if (const ErrorCode stopped = requested(); stopped != ErrorCode::kOk) return stop_error(stopped);
  std::string words = text == nullptr ? "" : text.get();
  constexpr std::size_t kMost = 200;
  words = words.substr(0, std::min(words.find('\n'), kMost));
  return {code, words.empty() ? what : what + ": " + words};
}

}  // namespace offloop::image::vips
