// How offloop._ext makes operations: a table of functions in a capsule, so that the extension modules share one type
// and one pool.
#pragma once

#include "core.h"

namespace offloop::python {

struct CoreApi {
  PyObject* (*new_operation)(Core* core, const char* name);
  void (*deliver_core)(Core* core);
  void (*set_error)(const Error& error);
  LoopPort* (*running_port)();
};

inline constexpr const char* kCoreApiName = "offloop._core._api";

bool init_core_api(PyObject* module);

}  // namespace offloop::python
