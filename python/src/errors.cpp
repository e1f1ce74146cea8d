// The one table from the core's codes to Python's classes.
#include <cerrno>
#include <new>
#include <string>

#include "core.h"

namespace offloop::python {
namespace {

constexpr std::size_t kCodes = 256;  // a code is one byte
/// The classes of offloop.errors by code. Kept from the import on: an error may have to be raised when nothing can be
/// imported any more, in a finalizer at the interpreter's end.
PyObject* g_classes[kCodes];

/// The class in offloop.errors, or null for those that Python has itself.
const char* class_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kPoolSaturated:
      return "PoolSaturatedError";
    case ErrorCode::kPoolClosed:
      return "PoolClosedError";
    case ErrorCode::kTimeout:
      return "OperationTimeoutError";
    case ErrorCode::kInvalidUrl:
      return "InvalidURLError";
    case ErrorCode::kFetch:
      return "FetchError";
    case ErrorCode::kFetchTimeout:
      return "FetchTimeoutError";
    case ErrorCode::kHttpStatus:
      return "HTTPStatusError";
    case ErrorCode::kDns:
      return "DNSError";
    case ErrorCode::kConnect:
      return "ConnectError";
    case ErrorCode::kTls:
      return "TLSError";
    case ErrorCode::kTooManyRedirects:
      return "TooManyRedirectsError";
    case ErrorCode::kIncompleteBody:
      return "IncompleteBodyError";
    case ErrorCode::kContentDecoding:
      return "ContentDecodingError";
    case ErrorCode::kBodyTooLarge:
      return "BodyTooLargeError";
    case ErrorCode::kBlockedAddress:
      return "BlockedAddressError";
    case ErrorCode::kImage:
      return "ImageError";
    case ErrorCode::kImageLimit:
      return "ImageLimitError";
    case ErrorCode::kUnsupportedFormat:
      return "UnsupportedFormatError";
    case ErrorCode::kDecoderCrash:
      return "DecoderCrashError";
    case ErrorCode::kHashMismatch:
      return "HashMismatchError";
    case ErrorCode::kInternal:
      return "OffloopError";
    default:
      return nullptr;
  }
}

bool is_fetch(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidUrl:
    case ErrorCode::kFetch:
    case ErrorCode::kFetchTimeout:
    case ErrorCode::kHttpStatus:
    case ErrorCode::kDns:
    case ErrorCode::kConnect:
    case ErrorCode::kTls:
    case ErrorCode::kTooManyRedirects:
    case ErrorCode::kIncompleteBody:
    case ErrorCode::kContentDecoding:
    case ErrorCode::kBodyTooLarge:
    case ErrorCode::kBlockedAddress:
      return true;
    default:
      return false;
  }
}

/// Of a file, whose path is the context. OSError chooses its subclass by the errno: FileNotFoundError,
/// IsADirectoryError, PermissionError.
void set_os_error(const Error& error) {
  errno = error.system;
  const Ref path(PyUnicode_DecodeFSDefaultAndSize(error.context.data(), static_cast<Py_ssize_t>(error.context.size())));
  if (path) PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path.get());
}

void set_builtin(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
      PyErr_SetString(PyExc_ValueError, error.message.c_str());
      return;
    case ErrorCode::kOutOfMemory:
      PyErr_SetString(PyExc_MemoryError, error.message.c_str());
      return;
    case ErrorCode::kIo: {
      if (!error.context.empty()) return set_os_error(error);
      const Ref arguments(Py_BuildValue("(is)", error.system, error.message.c_str()));  // a task's std::system_error
      if (arguments) PyErr_SetObject(PyExc_OSError, arguments.get());
      return;
    }
    case ErrorCode::kStopped:
      if (PyObject* cancelled = cancelled_error(); cancelled != nullptr) PyErr_SetNone(cancelled);
      return;
    default:
      PyErr_Format(PyExc_RuntimeError, "internal error of offloop, please report it: %s", error.message.c_str());
      return;
  }
}

/// The exception that is set gets the native stack trace as a note (OFFLOOP_BACKTRACE).
void add_backtrace(const Error& error) {
  if (error.backtrace.empty()) return;
  PyObject* exception = take_exception();
  const std::string text = "native stack trace:\n" + error.backtrace;
  const Ref done(PyObject_CallMethod(exception, "add_note", "s", text.c_str()));
  if (!done) PyErr_Clear();
  restore_exception(exception);
}

}  // namespace

void set_file_error(const Error& error) {
  if (error.code != ErrorCode::kIo) return set_error(error);
  set_os_error(error);
  add_backtrace(error);
}

void set_error(const Error& error) {
  const char* name = class_name(error.code);
  if (name == nullptr) {
    set_builtin(error);
    return add_backtrace(error);
  }
  PyObject* type = g_classes[static_cast<std::size_t>(error.code)];
  const Ref arguments(Py_BuildValue("(s#)", error.message.data(), static_cast<Py_ssize_t>(error.message.size())));
  const Ref keywords(PyDict_New());
  if (!arguments || !keywords) return;
  if (!error.context.empty()) {
    const Ref about(
        PyUnicode_DecodeUTF8(error.context.data(), static_cast<Py_ssize_t>(error.context.size()), "replace"));
    if (!about || PyDict_SetItemString(keywords.get(), is_fetch(error.code) ? "url" : "path", about.get()) < 0) return;
  }
  if (PyDict_SetItemString(keywords.get(), "retryable", is_retryable(error) ? Py_True : Py_False) < 0) return;
  if (error.code == ErrorCode::kHttpStatus) {
    const Ref status(PyLong_FromLong(error.system));
    if (!status || PyDict_SetItemString(keywords.get(), "status", status.get()) < 0) return;
  }
  const Ref code(PyUnicode_FromString(error_code_name(error.code)));
  if (!code || PyDict_SetItemString(keywords.get(), "code", code.get()) < 0) return;
  PyObject* exception = PyObject_Call(type, arguments.get(), keywords.get());
  if (exception == nullptr) return;
  restore_exception(exception);
  add_backtrace(error);
}

void set_error(ErrorCode code, const char* message) noexcept {
  try {
    set_error(Error(code, message));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
}

void set_not_submitted(bool pool) noexcept {
  if (pool) return set_error(ErrorCode::kPoolClosed, "the pool was shut down: no operation is accepted any more");
  PyErr_SetString(PyExc_MemoryError, "no worker thread could be started");
}

bool init_errors() {
  const Ref module(PyImport_ImportModule("offloop.errors"));
  if (!module) return false;
  for (std::size_t i = 0; i < kCodes; ++i) {
    const char* name = class_name(static_cast<ErrorCode>(i));
    if (name == nullptr || g_classes[i] != nullptr) continue;
    g_classes[i] = PyObject_GetAttrString(module.get(), name);
    if (g_classes[i] == nullptr) return false;
  }
  return true;
}

}  // namespace offloop::python
