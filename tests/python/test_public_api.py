"""The public names: what __all__ says is there, documented, and as the stub has it."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import offloop
from offloop import _core

PACKAGE = Path(offloop.__file__).parent
MODULES = ["offloop", "offloop.hashing", "offloop.errors"]
STUB = ast.parse((PACKAGE / "_core.pyi").read_text())


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_without_repetition(name: str) -> None:
    names = module(name).__all__
    assert list(names) == sorted(set(names))


@pytest.mark.parametrize("name", MODULES)
def test_every_name_in_all_exists_and_is_documented(name: str) -> None:
    for public in module(name).__all__:
        if public in ("fetch", "Fetcher", "fetch_url", "fetch_and_hash_urls"):
            continue  # loads libcurl: has tests of its own
        value = getattr(module(name), public)
        if callable(value) or inspect.ismodule(value):
            assert value.__doc__, public


def test_dir_lists_what_is_loaded_on_first_use() -> None:
    assert set(offloop.__all__) <= set(dir(offloop))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        offloop.nothing  # noqa: B018


def test_the_version_is_the_installed_packages() -> None:
    import importlib.metadata

    assert offloop.__version__ == importlib.metadata.version("offloop")


def test_star_import_brings_all() -> None:
    names: dict[str, Any] = {}
    exec("from offloop.hashing import *", names)
    assert set(offloop.hashing.__all__) <= set(names)


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (offloop.hashing.sha256, "(data)"),
        (offloop.hashing.digest, "(data, algorithm='sha256')"),
        (offloop.hashing.hexdigest, "(data, algorithm='sha256')"),
        (offloop.hashing.file_digest, "(path, algorithm='sha256')"),
        (offloop.hashing.file_hexdigest, "(path, algorithm='sha256')"),
    ],
)
def test_native_functions_show_their_signature(function: Any, signature: str) -> None:
    assert str(inspect.signature(function)) == signature


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_core.pyi").exists()


# ---- the stub against the module -------------------------------------------------------------------------------------


def stub_names(body: list[ast.stmt]) -> set[str]:
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_stub_has_every_public_name_of_the_core_and_no_other() -> None:
    real = {name for name in vars(_core) if not name.startswith("_")}
    assert stub_names(STUB.body) == real


def test_the_stub_has_every_public_method_of_operation_and_no_other() -> None:
    (stub,) = (node for node in STUB.body if isinstance(node, ast.ClassDef) and node.name == "Operation")
    in_stub = stub_names(stub.body)
    assert {name for name in in_stub if not hasattr(offloop.Operation, name)} == set()
    inspection = {"cr_code", "cr_frame", "cr_running"}  # for asyncio and inspect
    real = {name for name in vars(offloop.Operation) if not name.startswith("_")} - inspection
    assert real <= in_stub


def test_the_stubs_parameters_are_the_functions() -> None:
    for node in STUB.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        function = getattr(_core, node.name)
        if function.__text_signature__ is None:
            continue  # internal: offloop.hashing and offloop.configure say what they take
        signature = inspect.signature(function)
        arguments = [argument.arg for argument in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
        assert list(signature.parameters) == arguments, node.name
        defaults = [p for p in signature.parameters.values() if p.default is not p.empty]
        assert len(defaults) == len(node.args.defaults), node.name


def test_stubtest_agrees(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    allowed = tmp_path / "allowed"
    # Methods without a text signature, and what asyncio looks for.
    allowed.write_text("offloop._core.Operation.*\noffloop._core.__.*\n")
    command = [sys.executable, "-m", "mypy.stubtest", "offloop._core", "--ignore-missing-stub"]
    ended = subprocess.run(
        [*command, "--allowlist", str(allowed), "--ignore-unused-allowlist"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
