"""`offloop hash` of 2,000 cached files of 1 MB against sha256sum, whole processes, wall time."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import harness
from harness import Report

COUNT = 2000
SIZE = 1_000_000
TARGET = 3.5


def make_files(folder: Path, count: int) -> list[str]:
    base = random.Random(3).randbytes(SIZE)
    names = []
    for index in range(count):
        name = f"file-{index:05}"
        (folder / name).write_bytes(index.to_bytes(8, "big") + base[8:])
        names.append(name)
    return names


def run(command: Sequence[str], folder: Path, expected: bytes | None) -> float:
    """Wall seconds of the process; its output must be the expected one."""
    started = time.perf_counter()
    finished = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - started
    if expected is not None and finished.stdout != expected:
        raise AssertionError(f"{command[0]} printed other lines than sha256sum")
    return seconds


def main() -> None:
    given = harness.arguments(__doc__)
    report = Report("files", given)
    program = shutil.which("sha256sum")
    if program is None:
        print("sha256sum is not installed: nothing to compare with")
        return
    with tempfile.TemporaryDirectory(prefix="offloop-files-") as temporary:
        folder = Path(temporary)
        names = make_files(folder, COUNT // 10 if given.quick else COUNT)
        os.sync()  # else their writing back to disk would run beside the first rounds
        theirs = [program, *names]
        ours = [sys.executable, "-m", "offloop", "hash", *names]
        expected = subprocess.run(theirs, cwd=folder, stdout=subprocess.PIPE, check=True).stdout
        # Many builds of coreutils compute SHA-256 in plain C; OpenSSL's program uses what the CPU has, as hashlib does.
        openssl = shutil.which("openssl")
        fair: dict[str, harness.Contender] = {}
        if openssl is not None:
            lines = expected.replace(b"  ", b" *")
            fair["openssl dgst"] = lambda: run([openssl, "dgst", "-sha256", "-r", *names], folder, lines)
        row = harness.measure(
            f"{len(names)} cached files of 1 MB",
            "s",
            {
                "sha256sum": lambda: run(theirs, folder, expected),
                "offloop hash": lambda: run(ours, folder, expected),
                **fair,
                "offloop --version": lambda: run([sys.executable, "-m", "offloop", "--version"], folder, None),
            },
            given.repeats,
        )
        row.demand("sha256sum / offloop hash", row.ratio("sha256sum", "offloop hash"), TARGET)
        if fair:
            row.compare("openssl dgst", "offloop hash")
        rate = len(names) * SIZE / row.values["offloop hash"].median / 1e9
        row.notes.append(f"offloop hash: {rate:.2f} GB/s, start-up included")
        report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
