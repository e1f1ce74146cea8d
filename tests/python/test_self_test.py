"""A package whose SHA-256 is damaged refuses to be imported: no digest is better than a wrong one."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import offloop

# FIPS 180-4, 4.2.2: how the round constants begin, as they lie in the library.
ROUND_CONSTANTS = struct.pack("<4I", 0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5)
PROGRAM = "import offloop; print(offloop.compute_sha256(b'abc'))"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def copied_package(to: Path) -> Path:
    package = to / "offloop"
    shutil.copytree(Path(offloop.__file__).parent, package, symlinks=True)
    return package


def run_with(path: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(path)!r}); {PROGRAM}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_copy_of_the_package_works(tmp_path: Path) -> None:
    copied_package(tmp_path)
    done = run_with(tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (ABC + "\n", "", 0)


def test_one_flipped_bit_in_the_round_constants_is_an_import_error_that_says_so(tmp_path: Path) -> None:
    package = copied_package(tmp_path)
    (library,) = [path for path in package.rglob("liboffloop.so*") if not path.is_symlink()]
    content = bytearray(library.read_bytes())
    at = content.find(ROUND_CONSTANTS)
    assert at >= 0
    content[at] ^= 1
    library.write_bytes(content)
    done = run_with(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ImportError: offloop does not run here: the SHA-256 self-test failed on" in done.stderr
    assert "expected ba7816bf" in done.stderr
