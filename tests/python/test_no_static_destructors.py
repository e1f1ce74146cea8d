"""No object of ours with a destructor lies in static or thread storage.

Such an object is destroyed at exit while workers still use it: a static condition variable with a sleeper hung the exit
of CPython 3.12 to 3.14. The compiler registers each such destructor by a call of __cxa_atexit or __cxa_thread_atexit
(also for `#include <iostream>`); the object file that refers to one of them names the culprit.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REGISTRARS = ("__cxa_atexit", "__cxa_thread_atexit", "__cxa_thread_atexit_impl")

# Programs and tests may; what is loaded into the user's process may not.
CHECKED = (ROOT / "src", ROOT / "python" / "src")


# Where a forked child goes on: a function's static is made under a lock that a fork may leave locked for ever.
GUARDS = ("__cxa_guard_acquire",)
WITHOUT_GUARDS = (ROOT / "src" / "base", ROOT / "src" / "runtime", ROOT / "src" / "hash")


def references(object_file: Path, functions: tuple[str, ...] = REGISTRARS) -> list[str]:
    """Which of the functions (those that register destructors, if not said otherwise) an object file refers to."""
    listing = subprocess.run(["nm", "--undefined-only", object_file], capture_output=True, text=True, check=True).stdout
    return [name for name in (line.split()[-1] for line in listing.splitlines()) if name in functions]


def build_trees() -> list[Path]:
    """The trees that make builds in: the wheel's and the presets', without those of sanitizers and other CPUs."""
    trees = [file.parent for file in ROOT.glob("build/*/compile_commands.json")]
    return [tree for tree in trees if tree.name not in {"asan", "tsan", "aarch64"}]


def our_objects(tree: Path) -> dict[Path, Path]:
    """Object file to source, of all in a tree that is built of CHECKED and is not older than its source."""
    commands = json.loads((tree / "compile_commands.json").read_text(encoding="utf-8"))
    objects = {}
    for entry in commands:
        source = Path(entry["file"])
        words = shlex.split(entry["command"])
        output = tree / words[words.index("-o") + 1]
        ours = any(source.is_relative_to(folder) for folder in CHECKED)
        if ours and source.exists() and output.exists() and output.stat().st_mtime >= source.stat().st_mtime:
            objects[output] = source
    return objects


def test_no_object_file_registers_a_destructor() -> None:
    trees = build_trees()
    if not trees:
        pytest.skip("nothing is built here: the package was installed from elsewhere")
    objects = {output: source for tree in trees for output, source in our_objects(tree).items()}
    seen = {source.relative_to(ROOT).parts[0] for source in objects.values()}
    assert seen == {"src", "python"}, f"the check has lost its subject: it sees objects of {sorted(seen)} only"
    guilty = {
        f"{source.relative_to(ROOT)}: {', '.join(names)}"
        for output, source in objects.items()
        if (names := references(output))
    }
    assert not guilty, "objects with destructors in static or thread storage:\n" + "\n".join(sorted(guilty))


def test_no_function_of_the_core_makes_its_static_under_a_lock_that_a_fork_leaves_locked() -> None:
    trees = build_trees()
    if not trees:
        pytest.skip("nothing is built here: the package was installed from elsewhere")
    objects = {
        output: source
        for tree in trees
        for output, source in our_objects(tree).items()
        if any(source.is_relative_to(folder) for folder in WITHOUT_GUARDS)
    }
    assert objects, "the check has lost its subject"
    guilty = {str(source.relative_to(ROOT)) for output, source in objects.items() if references(output, GUARDS)}
    assert not guilty, f"functions with statics that are made on first use: {sorted(guilty)}"


def test_the_check_sees_guards_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "case.cpp"
    for code, expected in [
        ("int g(); int f() { static const int n = g(); return n; }", list(GUARDS)),
        ("int f() { static int n = 3; return ++n; }", []),
    ]:
        source.write_text(code + "\n")
        subprocess.run(["g++", "-std=c++20", "-O1", "-fPIC", "-c", source, "-o", tmp_path / "case.o"], check=True)
        assert references(tmp_path / "case.o", GUARDS) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("#include <string>\nstd::string name(100, 'x');", ["__cxa_atexit"]),
        ("#include <vector>\nint f() { static std::vector<int> v(9); return v[0]; }", ["__cxa_atexit"]),
        ("#include <string>\nstd::string& f() { thread_local std::string s; return s; }", ["__cxa_thread_atexit"]),
        ("#include <iostream>\nvoid f() { std::cout << 1; }", ["__cxa_atexit"]),
        ("#include <atomic>\n#include <mutex>\nstd::atomic<int> n; std::mutex m; thread_local int t = 1;", []),
        ("#include <string>\nstd::string& f() { static auto& s = *new std::string(99, 'x'); return s; }", []),
        ("#include <cstdlib>\nvoid g(); void f() { std::atexit(g); }", []),
    ],
)
def test_the_check_sees_destructors_and_nothing_else(tmp_path: Path, code: str, expected: list[str]) -> None:
    source = tmp_path / "case.cpp"
    source.write_text(code + "\n")
    subprocess.run(["g++", "-std=c++20", "-O1", "-fPIC", "-c", source, "-o", tmp_path / "case.o"], check=True)
    assert references(tmp_path / "case.o") == expected
