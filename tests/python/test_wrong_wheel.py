"""A wheel of the wrong kind is refused with an ImportError that names the right one, for each pair that can be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import offloop
from offloop import _wheel

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path(offloop.__file__).parent
FREE_THREADED = "free-threaded"
WRONG = "offloop is installed from a wheel of the wrong kind: "


@pytest.fixture(scope="module")
def interpreters() -> object:
    """tools/dev/interpreters.py, which finds the other CPythons of this machine."""
    sys.path.insert(0, str(ROOT / "tools" / "dev"))
    try:
        import interpreters
    finally:
        sys.path.pop(0)
    return interpreters


def other(interpreters: object, version: str) -> str:
    """The path of another interpreter; skips when there is none, or when this build is the right one for it."""
    if version == FREE_THREADED:
        paths = [path for path in os.environ.get("OFFLOOP_FT_PYTHON", "").split(":") if path]
        if not paths:
            pytest.skip("OFFLOOP_FT_PYTHON names no free-threaded CPython")
        found = interpreters.probe(paths[0])  # type: ignore[attr-defined]
    else:
        found = interpreters.find(version, fetch=False)  # type: ignore[attr-defined]
    if isinstance(found, str):
        pytest.skip(found)
    needed = ask(found.path, "from offloop import _wheel; print(_wheel.needed())", ROOT / "python" / "offloop")
    if needed == [_wheel.needed()]:
        pytest.skip(f"this build is the right one for {found.path}")
    return str(found.path)


def ask(python: str, code: str, package: Path) -> list[str]:
    """Runs code in which `offloop` is a bare namespace on that folder, so that nothing of it is imported by itself."""
    head = "import sys, types; m = types.ModuleType('offloop'); sys.modules['offloop'] = m"
    program = f"{head}; m.__path__ = [{str(package)!r}]\n{code}"
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


def copy_of_the_package(folder: Path, module_name: str | None) -> Path:
    """The installed package, its modules under a name that every interpreter takes if one is given."""
    shutil.copytree(INSTALLED, folder / "offloop", ignore=shutil.ignore_patterns("__pycache__"))
    if module_name is not None:
        (module,) = (folder / "offloop").glob("_core*.so")
        module.rename(module.with_name(module_name))
    return folder


# "_core.so" is loaded by every interpreter; ".abi3.so" is what 3.11 and free-threaded ones take from an abi3 wheel.
@pytest.mark.parametrize("module_name", [None, "_core.so", "_core.abi3.so"])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14", "3.15", FREE_THREADED])
def test_another_interpreter_refuses_this_build(
    tmp_path: Path, interpreters: object, version: str, module_name: str | None
) -> None:
    python = other(interpreters, version)
    if module_name == "_core.abi3.so" and _wheel.needed() != "cp312-abi3":
        pytest.skip("this build is not for the stable ABI: no wheel has it under that name")
    folder = copy_of_the_package(tmp_path, module_name)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import offloop"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, f"{python} ended with {done.returncode}: {done.stderr}"  # a crash is negative
    last = done.stderr.strip().splitlines()[-1]
    (needed,) = ask(python, "from offloop import _wheel; print(_wheel.needed())", ROOT / "python" / "offloop")
    assert last.startswith(f"ImportError: {WRONG}"), done.stderr
    assert last.endswith(f"install the wheel tagged {needed}"), done.stderr


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("_core.abi3.so", "cp312-abi3"),
        ("_core.cpython-311-x86_64-linux-gnu.so", "cp311-cp311"),
        ("_core.cpython-314t-aarch64-linux-gnu.so", "cp314-cp314t"),
        ("_core.so", None),
    ],
)
def test_a_module_says_by_its_name_which_wheel_it_is_from(name: str, tag: str | None) -> None:
    assert _wheel.tag_of(name) == tag


def test_this_interpreter_has_the_wheel_that_it_needs() -> None:
    (module,) = INSTALLED.glob("_core*.so")
    assert _wheel.tag_of(module.name) == _wheel.needed()
    assert offloop.build_info()["abi"] == ("cp312-abi3" if _wheel.needed() == "cp312-abi3" else "version-specific")
    assert module.name.endswith(sysconfig.get_config_var("EXT_SUFFIX")) or ".abi3." in module.name


def test_an_import_error_of_another_cause_is_not_blamed_on_the_wheel() -> None:
    _wheel.explain(ImportError("libcrypto.so.3: cannot open shared object file: No such file or directory"))
