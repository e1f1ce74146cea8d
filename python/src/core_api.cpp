#include "core_api.h"

namespace offloop::python {

bool init_core_api(PyObject* module) {
  static const CoreApi api = {new_operation, deliver_core, set_error, running_port, set_file_error};
  const Ref capsule(PyCapsule_New(const_cast<CoreApi*>(&api), kCoreApiName, nullptr));
  return capsule && PyModule_AddObjectRef(module, "_api", capsule.get()) == 0;
}

}  // namespace offloop::python
