"""Says which wheel an interpreter needs, when the one that is installed is another's."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from pathlib import Path


def needed() -> str:
    """This interpreter's wheel tag: ``cp311-cp311``, ``cp312-abi3`` or, free-threaded, ``cp314-cp314t``."""
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return f"{version}-{version}t"
    return "cp312-abi3" if sys.version_info >= (3, 12) else f"{version}-{version}"


def tag_of(file_name: str) -> str | None:
    """The tag of the wheel that an extension module's file comes from; None when its name does not say."""
    if file_name.endswith(".abi3.so"):
        return "cp312-abi3"
    found = re.search(r"\.cpython-(\d+)(t?)-", file_name)
    return f"cp{found[1]}-cp{found[1]}{found[2]}" if found else None


def explain(error: ImportError) -> None:
    """Raises an ImportError that names the right wheel, if ``error`` came from a wheel of the wrong kind.

    Such a module is not found, lacks symbols that only its own interpreter has, or has refused the interpreter itself.
    """
    files = sorted(file.name for file in Path(__file__).parent.glob("_core*.so"))
    tags = [tag_of(name) for name in files]
    if not files or needed() in tags:
        return
    if None in tags and "undefined symbol: " not in str(error):
        return
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        implementation += " free-threaded"
    raise ImportError(
        f"offloop is installed from a wheel of the wrong kind: {', '.join(files)} does not fit {implementation}; "
        f"install the wheel tagged {needed()}",
        name="offloop._core",
    ) from error
