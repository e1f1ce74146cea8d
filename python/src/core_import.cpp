// How the other extension modules reach _core.
#include "core_api.h"

namespace offloop::python {

const CoreApi* core_api() {
  static const CoreApi* api = nullptr;
  if (api == nullptr) api = static_cast<const CoreApi*>(PyCapsule_Import(kCoreApiName, 0));
  return api;
}

}  // namespace offloop::python
