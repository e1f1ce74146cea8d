#include "image/jpeg_errors.h"

#include <string>

#include <jerror.h>

namespace offloop::image {
namespace {

[[noreturn]] void jump_out(j_common_ptr info) {
  auto* errors = static_cast<JpegErrors*>(info->err);
  if (errors->msg_code == JERR_OUT_OF_MEMORY) errors->code = ErrorCode::kOutOfMemory;
  errors->format_message(info, errors->text);
  std::longjmp(errors->jump, 1);
}

/// A negative level is a warning: libjpeg goes on with grey or with what it had.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  auto* errors = static_cast<JpegErrors*>(info->err);
  ++errors->num_warnings;
  switch (errors->msg_code) {
    case JWRN_EXTRANEOUS_DATA:  // bytes between segments
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
      return;
    default:
      if (errors->fatal_warnings) jump_out(info);
  }
}

void on_output(j_common_ptr) {}  // nothing is printed

void on_progress(j_common_ptr info) {
  auto* progress = static_cast<JpegProgress*>(info->progress);
  const ErrorCode requested = progress->stop_->requested();
  if (requested == ErrorCode::kOk) return;
  auto* errors = static_cast<JpegErrors*>(info->err);
  errors->code = requested;
  std::longjmp(errors->jump, 1);
}

}  // namespace

void JpegErrors::install(bool strict) noexcept {
  jpeg_std_error(this);
  fatal_warnings = strict;
  error_exit = jump_out;
  emit_message = on_message;
  output_message = on_output;
}

Error JpegErrors::error(const char* stage) const {
  if (code == ErrorCode::kStopped || code == ErrorCode::kTimeout) return stop_error(code);
  if (code == ErrorCode::kOutOfMemory) return {ErrorCode::kOutOfMemory, "out of memory for a JPEG"};
  return {ErrorCode::kImage, std::string(stage) + " JPEG: " + text};
}

void JpegProgress::install(const Stop& stop) noexcept {
  progress_monitor = on_progress;
  stop_ = &stop;
}

}  // namespace offloop::image
