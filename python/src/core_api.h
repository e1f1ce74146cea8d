// How offloop._ext and offloop._image make operations: a table of functions in a capsule, so that the extension modules
// share one type and one pool.
#pragma once

#include "core.h"

namespace offloop::python {

struct CoreApi {
  PyObject* (*new_operation)(Core* core, const char* name);
  void (*deliver_core)(Core* core);
  void (*set_error)(const Error& error);
  LoopPort* (*running_port)();
  void (*set_file_error)(const Error& error);
};

inline constexpr const char* kCoreApiName = "offloop._core._api";

bool init_core_api(PyObject* module);
/// For the other extension modules (core_import.cpp). Null with an exception set when _core is not there.
const CoreApi* core_api();

}  // namespace offloop::python
