"""Finds the CPythons that offloop is tested on: in PATH, pyenv's, or put beside the system from Debian's archive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
FROM_DEBIAN = Path(__file__).resolve().parents[1] / "python-from-debian"

_ASK = """
import json, pathlib, sys, sysconfig
try:
    import ensurepip, venv
    makes_venvs = True
except ImportError:
    makes_venvs = False
header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
print(json.dumps({"path": sys.executable, "release": sys.version.split()[0], "kind": sys.implementation.name,
    "version": "%d.%d" % sys.version_info[:2], "headers": header.exists(), "makes_venvs": makes_venvs,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED"))}))
"""


@dataclass(frozen=True)
class Interpreter:
    path: str
    release: str  # "3.14.2"
    version: str  # "3.14"
    free_threaded: bool

    @property
    def row(self) -> str:
        return self.version + ("t" if self.free_threaded else "")


def probe(path: str | Path) -> Interpreter | str:
    """The interpreter, or why it cannot be used."""
    try:
        done = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, timeout=60, check=False, cwd="/")
        answer = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return f"{path} does not run"
    if answer["kind"] != "cpython":
        return f"{path} is {answer['kind']}, not CPython"
    if not answer["headers"]:
        return f"{path} has no headers (the -dev package of that interpreter)"
    if not answer["makes_venvs"]:
        return f"{path} cannot make virtual environments (the -venv package of that interpreter)"
    return Interpreter(answer["path"], answer["release"], answer["version"], answer["free_threaded"])


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "offloop"


def _candidates(version: str) -> list[Path]:
    name = f"python{version}"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted((pyenv / "versions").glob(f"{version}.*/bin"), reverse=True)
    folders.append(cache_folder() / name / "bin")
    return [folder / name for folder in folders if (folder / name).exists()]


def find(version: str, *, fetch: bool) -> Interpreter | str:
    """The first usable CPython of that version with the GIL, or why there is none.

    With `fetch` one that is nowhere is put into the user's cache folder, once, by tools/python-from-debian.
    """
    problem = f"no python{version} in PATH or pyenv"
    for candidate in _candidates(version):
        found = probe(candidate)
        if isinstance(found, str):
            problem = found
        elif found.version == version and not found.free_threaded:
            return found
    return _fetch(version, problem) if fetch else problem


def _fetch(version: str, problem: str) -> Interpreter | str:
    if shutil.which("apt-get") is None:
        return f"{problem}, and no apt-get to fetch it with"
    prefix = cache_folder() / f"python{version}"
    print(f"offloop: fetching CPython {version} from Debian's archive into {prefix}", flush=True)
    done = subprocess.run([FROM_DEBIAN, version, prefix], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(prefix, ignore_errors=True)
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        return f"{problem}; from Debian: {said.removeprefix('E: ')}"
    return probe(prefix / "bin" / f"python{version}")
