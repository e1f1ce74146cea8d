// Errors of transfers, in the words of the documentation.
#include <string>

#include "fetch_cores.h"
#include "offloop/fetch/url.h"

namespace offloop::python {
namespace {

/// What a server sent (a Location, say) may be in a message and need not be UTF-8.
std::string readable(const std::string& text) {
  const Ref decoded(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  const Ref bytes(decoded ? PyUnicode_AsUTF8String(decoded.get()) : nullptr);
  if (bytes) return {PyBytes_AsString(bytes.get()), static_cast<std::size_t>(PyBytes_Size(bytes.get()))};
  PyErr_Clear();
  return "(out of memory for the message)";
}

}  // namespace

void set_fetch_error(Error error, const std::string& url) {
  switch (error.code) {
    case ErrorCode::kStopped:
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kInternal:
    case ErrorCode::kInvalidArgument:
      break;
    case ErrorCode::kPoolClosed:
      break;
    case ErrorCode::kFetchTimeout:
      error.message = "Fetch timed out for " + fetch::redact_url(url) + " after " + error.message;
      error.context = fetch::redact_url(url);
      break;
    default:
      error.message = "Fetch failed for " + fetch::redact_url(url) + ": " + error.message;
      error.context = fetch::redact_url(url);
      break;
  }
  error.message = readable(error.message);
  core_api()->set_error(error);
}

}  // namespace offloop::python
