// The input of an operation: a bytes-like object, held without a copy while native threads read it.
//
// bytes is immutable and only referenced. Anything else is exported through the buffer protocol: a bytearray in use
// cannot be resized meanwhile (BufferError); changing its content is the caller's race, as with hashlib. The Py_buffer
// lives in malloc'd memory, outside the garbage collector's sight. Taken and released with the GIL only, never on a
// worker.
#pragma once

#include "offloop/base/bytes.h"
#include "python.h"

namespace offloop::python {

class Buffer {
 public:
  Buffer() noexcept = default;
  ~Buffer() { release(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  /// Holds on to the object without exporting it: for an operation that waits for a slot. False with a TypeError or
  /// BufferError set when it is not a C-contiguous buffer.
  bool hold(PyObject* object);
  /// Exports what is held. False with an exception set.
  bool acquire();
  void release() noexcept;

  [[nodiscard]] ByteSpan span() const noexcept { return {data_, size_}; }

 private:
  PyObject* object_ = nullptr;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  Py_buffer* view_ = nullptr;  ///< malloc'd while exported; bytes need none
};

}  // namespace offloop::python
