#include "buffer.h"

#include <new>

#include "offloop/base/counters.h"

namespace offloop::python {
namespace {

bool refuse(PyObject* object) {
  PyErr_Format(PyExc_TypeError, "data must be a bytes-like object (bytes, bytearray, memoryview, mmap, array), not %R",
               type_name(object).get());
  return false;
}

}  // namespace

bool Buffer::hold(PyObject* object) {
  if (PyBytes_CheckExact(object)) {
    char* data = nullptr;
    Py_ssize_t size = 0;
    PyBytes_AsStringAndSize(object, &data, &size);
    data_ = reinterpret_cast<const std::uint8_t*>(data);
    size_ = static_cast<std::size_t>(size);
  } else {
    if (!PyObject_CheckBuffer(object)) return refuse(object);
    Py_buffer probe;  // refuses what is not contiguous now, not when its turn comes
    if (PyObject_GetBuffer(object, &probe, PyBUF_SIMPLE) < 0) return false;
    PyBuffer_Release(&probe);
  }
  object_ = Ref::to(object).release();
  count_made(Counted::kBuffer);
  return true;
}

bool Buffer::acquire() {
  if (view_ != nullptr || PyBytes_CheckExact(object_)) return true;
  view_ = new (std::nothrow) Py_buffer;
  if (view_ == nullptr) {
    PyErr_NoMemory();
    return false;
  }
  if (PyObject_GetBuffer(object_, view_, PyBUF_SIMPLE) < 0) {
    delete std::exchange(view_, nullptr);
    return false;
  }
  data_ = static_cast<const std::uint8_t*>(view_->buf);
  size_ = static_cast<std::size_t>(view_->len);
  return true;
}

void Buffer::release() noexcept {
  PyObject* object = std::exchange(object_, nullptr);
  if (object == nullptr) return;
  count_freed(Counted::kBuffer);
  data_ = nullptr;
  size_ = 0;
  // Empty before the exporter hears of it: what it does may be Python code that comes here again.
  if (Py_buffer* view = std::exchange(view_, nullptr); view != nullptr) {
    PyBuffer_Release(view);
    delete view;
  }
  Py_DECREF(object);
}

}  // namespace offloop::python
