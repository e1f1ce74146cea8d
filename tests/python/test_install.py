"""The C++ core installs without Python, and an outside program finds it: get(), a callback, co_await."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "install"  # kept, so that the next run compiles only what changed

pytestmark = [
    pytest.mark.timeout(400),  # from nothing it compiles the whole core
    pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("ninja") is None, reason="needs cmake and ninja"),
]

PROJECT = """\
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
set(CMAKE_CXX_FLAGS "-Wall -Wextra -Werror")
find_package(offloop {version} REQUIRED COMPONENTS {components})
foreach(name {programs})
  add_executable(${{name}} ${{name}}.cpp)
  target_link_libraries(${{name}} PRIVATE {targets})
endforeach()
"""

GET = """\
#include <cstdio>
#include <offloop/hash/hash.h>

int main() {
  const std::uint8_t bytes[3] = {'a', 'b', 'c'};
  auto operation = offloop::hash::sha256(bytes);
  auto digest = operation.get();
  if (!digest.ok()) return 1;
  std::puts(digest.value().hex().c_str());
}
"""

CALLBACK = """\
#include <cstdio>
#include <future>
#include <offloop/hash/hash.h>

int main() {
  const std::uint8_t bytes[3] = {'a', 'b', 'c'};
  std::promise<std::string> promise;
  auto operation = offloop::hash::sha256(bytes);
  operation.then([&](offloop::Result<offloop::hash::Digest>& digest) noexcept {
    promise.set_value(digest.ok() ? digest.value().hex() : digest.error().message);
  });
  std::puts(promise.get_future().get().c_str());
}
"""

AWAIT = """\
#include <coroutine>
#include <cstdio>
#include <future>
#include <offloop/hash/hash.h>

struct Started {
  struct promise_type {
    Started get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

Started hash(std::promise<std::string>& out) {
  static const std::uint8_t bytes[3] = {'a', 'b', 'c'};
  auto digest = co_await offloop::hash::sha256(bytes);
  out.set_value(digest.ok() ? digest.value().hex() : digest.error().message);
}

int main() {
  std::promise<std::string> promise;
  hash(promise);
  std::puts(promise.get_future().get().c_str());
}
"""

FETCH = """\
#include <cstdio>
#include <offloop/fetch/fetcher.h>
#include <offloop/fetch/url.h>
#include <offloop/hash/hash.h>

int main() { std::puts("linked"); }
"""


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Nothing of this run's environment may help the program find its libraries.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core, installed as a C++ library: built without Python, tests and benchmarks."""
    options = ["-DOFFLOOP_PYTHON=OFF", "-DOFFLOOP_TESTS=OFF", "-DOFFLOOP_BENCH=OFF", "-DOFFLOOP_NATIVE=ON"]
    run("cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options)
    run("cmake", "--build", BUILD)
    installed = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--component", "cpp", "--prefix", installed)
    return installed


def build_outside(folder: Path, prefix: Path, sources: dict[str, str], components: str, targets: str) -> Path:
    """Builds an outside project against the installed core, and returns its build folder."""
    version = next(line.split()[2] for line in (ROOT / "CMakeLists.txt").read_text().splitlines() if "project(" in line)
    text = PROJECT.format(version=version, components=components, targets=targets, programs=" ".join(sources))
    (folder / "CMakeLists.txt").write_text(text)
    for name, code in sources.items():
        (folder / f"{name}.cpp").write_text(code)
    run("cmake", "-S", folder, "-B", folder / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", folder / "build")
    return folder / "build"


def test_an_outside_program_gets_is_called_back_and_awaits(tmp_path: Path, prefix: Path) -> None:
    sources = {"get": GET, "callback": CALLBACK, "await": AWAIT}
    build = build_outside(tmp_path, prefix, sources, "core", "offloop::core")
    for name in sources:
        assert run(build / name).stdout.split() == [hashlib.sha256(b"abc").hexdigest()], name


def test_an_outside_program_links_the_fetch_component(tmp_path: Path, prefix: Path) -> None:
    build = build_outside(tmp_path, prefix, {"fetches": FETCH}, "core fetch", "offloop::fetch")
    assert run(build / "fetches").stdout.split() == ["linked"]


def test_an_unknown_component_is_refused_by_name(tmp_path: Path, prefix: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(version="", components="nonsense", targets="", programs=""))
    command: list[str | Path] = ["cmake", "-S", tmp_path, "-B", tmp_path / "build", "-G", "Ninja"]
    command.append(f"-DCMAKE_PREFIX_PATH={prefix}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "nonsense" in done.stderr


def test_whoever_only_hashes_loads_no_libcurl(prefix: Path) -> None:
    needed = run("ldd", next(prefix.rglob("liboffloop.so"))).stdout
    assert "libcrypto" in needed
    assert "libcurl" not in needed


def test_no_python_and_no_path_of_the_build_is_installed(prefix: Path) -> None:
    files = [file for file in prefix.rglob("*") if file.is_file()]
    assert any(file.name == "offloopConfig.cmake" for file in files)
    for file in files:
        content = file.read_bytes()
        assert b"Python.h" not in content, file
        assert str(BUILD).encode() not in content, f"{file} refers to the folder it was built in"


def test_the_installed_native_program_runs_from_there(tmp_path: Path, prefix: Path) -> None:
    name = "a\\b\nc"
    (tmp_path / name).write_bytes(b"abc")
    ours = run(prefix / "bin" / "offloop-native-hash", name, cwd=tmp_path).stdout
    theirs = run("sha256sum", name, cwd=tmp_path).stdout
    assert ours == theirs


def test_every_public_header_compiles_on_its_own(tmp_path: Path, prefix: Path) -> None:
    headers = sorted(header.relative_to(prefix / "include") for header in (prefix / "include").rglob("*.h"))
    assert len(headers) > 10
    # Two at once in one file each: includes are complete, and guarded against the second time.
    for number, header in enumerate(headers):
        (tmp_path / f"h{number}.cpp").write_text(f"#include <{header}>\n#include <{header}>\n")
    flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{prefix / 'include'}"]
    run("g++", *flags, *sorted(tmp_path.glob("h*.cpp")))
