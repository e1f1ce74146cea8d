"""The layers hold: each line of the house may use the lines below it, never one beside or above.

cli   service   bench                     only public offloop names, like any user
  async API    python/offloop/*.py
  bindings     python/src/                alone sees Python.h
  job
  pipeline
  hash | fetch | image | json | sdk       siblings never include each other
  runtime
  base                                    standard library only
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

SIBLINGS = {"hash", "fetch", "image", "json", "sdk"}
BELOW: dict[str, set[str]] = {
    "base": set(),
    "runtime": {"base"},
    **{sibling: {"base", "runtime"} for sibling in SIBLINGS},
    "pipeline": {"base", "runtime"} | SIBLINGS,
    "job": {"base", "runtime", "pipeline"} | SIBLINGS,
}
LAYERS = set(BELOW)

# In Python: who is on the top line, and what of offloop only the async API may touch.
TOP = {"cli", "service", "bench"}
BESIDE = TOP | {"testing", "profiling"}

# The one helper for tests that has a native half, in _core.
NATIVE_HELPER = ("testing", "spin.py")

# The event loop's own interface for foreign threads and descriptors; _loop.py alone knows it.
LOOP_INTERFACE = {"add_reader", "remove_reader", "call_soon_threadsafe"}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


class BadEdge(NamedTuple):
    path: Path
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}"


# ---- C++ -------------------------------------------------------------------------------------------------------------


def cpp_layer(path: Path) -> str | None:
    """The layer of a C++ file by its path below the root; None for files that stand outside (tests, benches)."""
    match path.parts:
        case ("src", layer, *_) if layer in LAYERS:
            return layer
        case ("include", "offloop", layer, *_) if layer in LAYERS:
            return layer
        case ("python", "src", *_):
            return "bindings"
        case ("native", *_) | ("examples", *_):
            return "outside"
    return None


def included_layer(name: str, includer: Path) -> tuple[str | None, bool]:
    """(layer, whether it is a private header) of an included name; (None, ...) for a header of others."""
    parts = Path(name).parts
    if len(parts) >= 3 and parts[0] == "offloop":
        return parts[1], False
    if len(parts) >= 2 and parts[0] in LAYERS:
        return parts[0], True
    if len(parts) == 1 and includer.parts[0] == "src":
        return includer.parts[1], True
    return None, False


def cpp_bad_edges(root: Path) -> Iterator[BadEdge]:
    for folder in ("src", "include", "python/src", "native", "examples"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in {".h", ".hpp", ".cpp", ".cc"}:
                continue
            path = file.relative_to(root)
            layer = cpp_layer(path)
            if layer is None:
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                found = INCLUDE.match(line)
                if found and (why := judge_include(layer, path, found[1], root)):
                    yield BadEdge(path, number, why)


def judge_include(layer: str, path: Path, name: str, root: Path) -> str | None:
    if name in {"Python.h", "structmember.h"} or name.startswith("nanobind/"):
        return None if layer == "bindings" else f"{layer} includes {name}: only python/src may see Python"
    target, private = included_layer(name, path)
    if private and len(Path(name).parts) == 1 and not (root / path.parent / name).exists():
        return None  # a third party's header: <zlib.h>
    if target is None:
        return None
    if private and path.parts[0] == "include":
        return f'a public header includes the private "{name}"'
    if private and layer == "outside":
        return f'{path.parts[0]} includes the private "{name}": only public headers are for users'
    if layer in {"bindings", "outside"} or target == layer:
        return None
    if target not in LAYERS:
        return f'"{name}" is in no layer of the house'
    if target not in BELOW[layer]:
        beside = {layer, target} <= SIBLINGS
        why = "siblings never include each other" if beside else f"{target} is above {layer}"
        return f"{layer} includes {name}: {why}"
    return None


# ---- Python ----------------------------------------------------------------------------------------------------------


def python_bad_edges(root: Path) -> Iterator[BadEdge]:
    package = root / "python" / "offloop"
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(root)
        inside = file.relative_to(package).parts
        tree = ast.parse(file.read_text(encoding="utf-8"), str(path))
        for line, module in offloop_imports(tree, inside):
            if why := judge_import(inside, module):
                yield BadEdge(path, line, why)
        if inside[0] not in BESIDE and inside != ("_loop.py",):
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr in LOOP_INTERFACE:
                    yield BadEdge(path, node.lineno, f"uses the loop's {node.attr}: only _loop.py knows event loops")


def offloop_imports(tree: ast.AST, inside: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, dotted path below offloop) of everything imported from offloop, relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = tuple(alias.name.split("."))
                if parts[0] == "offloop":
                    yield node.lineno, parts[1:]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = inside[: len(inside) - node.level]
                parts = (*base, *(node.module.split(".") if node.module else ()))
            elif node.module and node.module.split(".")[0] == "offloop":
                parts = tuple(node.module.split(".")[1:])
            else:
                continue
            for alias in node.names:
                yield node.lineno, (*parts, alias.name)


def judge_import(inside: tuple[str, ...], module: tuple[str, ...]) -> str | None:
    """What is wrong when the file `inside` (parts below the package) imports `module`, else None."""
    here = inside[0]
    if not module or module[0] == here:
        return None
    if inside == ("__main__.py",):
        return None  # `python -m offloop` is the command line
    if inside == NATIVE_HELPER and module[0] == "_core":
        return None
    if here in BESIDE:
        hidden = next((part for part in module if part.startswith("_") and not part.startswith("__")), None)
        if hidden:
            return f"{here} imports offloop.{'.'.join(module)}: only public names are for users ({hidden} is private)"
        if here in TOP and module[0] in TOP:
            return f"{here} imports offloop.{module[0]}, which stands beside it"
        if here not in TOP and module[0] in TOP:
            return f"{here} imports offloop.{module[0]}, which is above it"
        return None
    if module[0] in BESIDE:
        return f"the async API imports offloop.{module[0]}, which is above it"
    return None


# ---- the promises ----------------------------------------------------------------------------------------------------


def test_no_include_goes_up_or_sideways() -> None:
    bad = [str(edge) for edge in cpp_bad_edges(ROOT)]
    assert not bad, "\n" + "\n".join(bad)


def test_no_import_goes_up_or_sideways() -> None:
    bad = [str(edge) for edge in python_bad_edges(ROOT)]
    assert not bad, "\n" + "\n".join(bad)


def test_there_is_something_to_check() -> None:
    assert len(list((ROOT / "src").rglob("*.cpp"))) > 10
    assert len(list((ROOT / "python" / "offloop").rglob("*.py"))) > 3


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("src/hash/a.cpp", '#include "offloop/fetch/url.h"', "siblings never include each other"),
        ("src/runtime/a.cpp", '#include "offloop/hash/digest.h"', "hash is above runtime"),
        ("include/offloop/base/a.h", '#include "offloop/runtime/pool.h"', "runtime is above base"),
        ("src/fetch/a.cpp", "#include <Python.h>", "only python/src may see Python"),
        ("src/pipeline/a.cpp", '#include "offloop/job/job.h"', "job is above pipeline"),
        ("include/offloop/fetch/a.h", '#include "fetch/threads.h"', "a public header includes the private"),
        ("native/a.cpp", '#include "hash/lanes.h"', "only public headers are for users"),
        ("src/job/a.cpp", '#include "offloop/nowhere/a.h"', "in no layer of the house"),
    ],
)
def test_a_bad_include_is_named(tmp_path: Path, path: str, text: str, named: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(f"// a comment\n{text}\n")
    (edge,) = cpp_bad_edges(tmp_path)
    assert (edge.path, edge.line) == (Path(path), 2)
    assert named in edge.why


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("hashing.py", "from offloop.cli import main", "offloop.cli, which is above it"),
        ("hashing.py", "from .testing import Origin", "offloop.testing, which is above it"),
        ("cli/main.py", "from offloop import _core", "only public names are for users"),
        ("cli/main.py", "from .._loop import port", "only public names are for users"),
        ("bench/run.py", "import offloop.service", "stands beside it"),
        ("testing/origin.py", "from offloop import cli", "which is above it"),
        ("profiling/child.py", "from offloop.cli import main", "which is above it"),
        ("testing/origin.py", "from offloop._core import spin", "only public names are for users"),
        ("fetch.py", "def f(loop): loop.add_reader(1, f)", "only _loop.py knows event loops"),
    ],
)
def test_a_bad_import_is_named(tmp_path: Path, path: str, text: str, named: str) -> None:
    file = tmp_path / "python" / "offloop" / path
    file.parent.mkdir(parents=True)
    file.write_text(f'"""Words."""\n{text}\n')
    (edge,) = python_bad_edges(tmp_path)
    assert edge.line == 2
    assert named in edge.why


def test_what_the_house_allows_is_not_named(tmp_path: Path) -> None:
    allowed = {
        "src/pipeline/a.cpp": '#include "offloop/hash/digest.h"\n#include "pipeline/steps.h"\n#include <zlib.h>\n',
        "src/hash/b.cpp": '#include "offloop/runtime/pool.h"\n#include "hash/lanes.h"\n#include <openssl/evp.h>\n',
        "python/src/c.cpp": '#include <Python.h>\n#include "offloop/hash/hash.h"\n',
        "python/offloop/hashing.py": "from . import _core\nfrom ._loop import port\nimport asyncio\n",
        "python/offloop/cli/main.py": "import offloop\nfrom offloop import hashing\nfrom ._table import table\n",
        "python/offloop/testing/spin.py": "from offloop._core import spin as _spin\n",
        "python/offloop/_loop.py": "def f(loop): loop.add_reader(1, f)\n",
    }
    for path, text in allowed.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [*cpp_bad_edges(tmp_path), *python_bad_edges(tmp_path)] == []
