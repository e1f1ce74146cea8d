"""Regression guard: instructions of submit, drain and the portable and AVX2 kernels, beside the stored figures.

Ends with exit code 1 when one is above its stored figure by more than the tolerance. --write stores what was counted.
callgrind has no AVX-512 and hides SHA-NI: those kernels are judged by the cycles of the C++ benchmark instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import callgrind

import offloop

STORED = Path(__file__).resolve().parents[1] / "guard.json"
TOLERANCE = 0.03  # which worker is awake when a task submits is up to the scheduler

# What is ours of the path; the interpreter's share is its own business.
LIBRARIES = ("_core", "liboffloop")

OPERATIONS = 300
ROUNDS = 4  # and one before, which makes the port, the pool and the tables
SIZE = 65_536  # too large to run inline, so that every operation goes the whole way
_OPERATIONS = f"""
import asyncio, os, sys, offloop
base = os.urandom({SIZE})
payloads = [i.to_bytes(8, "big") + base[8:] for i in range({OPERATIONS})]
async def one(payload):
    return await offloop.sha256(payload)
async def main(rounds):
    await offloop.sha256(base)
    for _ in range(rounds):
        async with asyncio.TaskGroup() as group:
            for payload in payloads:
                group.create_task(one(payload))
asyncio.run(main(int(sys.argv[1])))
"""

STREAMS = 16
_KERNELS = f"""
import os, sys, offloop
base = os.urandom({SIZE})
payloads = [i.to_bytes(8, "big") + base[8:] for i in range({STREAMS})]
for _ in range(int(sys.argv[1])):
    offloop.batch_hash(payloads, 1)
"""


def ours(counted: Counter[tuple[str, str]]) -> int:
    """Instructions in our libraries, without the hash functions."""
    return sum(
        number
        for (library, function), number in counted.items()
        if library.startswith(LIBRARIES) and "sha256_" not in function
    )


def of_operation(inside: str, folder: Path) -> float:
    """Of one operation on the loop's thread, inside that function: the difference of a long and a short run."""
    totals = []
    for rounds in (1, 1 + ROUNDS):
        out = folder / f"operation-{rounds}"
        callgrind.count(_OPERATIONS, [str(rounds)], out, inside=inside, environment={"OFFLOOP_THREADS": "2"})
        totals.append(ours(callgrind.of_thread(out, 1)))
    return (totals[1] - totals[0]) / (OPERATIONS * ROUNDS)


def of_kernel(mode: str, function: str, folder: Path) -> float:
    """Of one byte, inside the kernel, with every lane in use. 0 when the kernel did not run."""
    totals = []
    for rounds in (1, 2):
        out = folder / f"{mode}-{rounds}"
        environment = {"OFFLOOP_CPU": mode, "OFFLOOP_THREADS": "1"}
        callgrind.count(_KERNELS, [str(rounds)], out, environment=environment)
        counted = callgrind.of_all_threads(out)
        totals.append(sum(number for (_, name), number in counted.items() if function in name))
    return (totals[1] - totals[0]) / (STREAMS * SIZE)


def count_all() -> dict[str, float]:
    """Every figure of the guard; the AVX2 kernel only where it is compiled."""
    with tempfile.TemporaryDirectory(prefix="offloop-guard-") as folder:
        figures = {
            "submit, instructions an operation": of_operation("offloop::python::py_sha256(*", Path(folder)),
            "drain, instructions an operation": of_operation("offloop::python::*::drain(*", Path(folder)),
            "portable kernel, instructions a byte": of_kernel("portable", "sha256_portable_x1", Path(folder)),
        }
        if "avx2" in str(offloop.build_info()["cpu_features"]):
            figures["AVX2 kernel, instructions a byte"] = of_kernel("avx2", "sha256_avx2_x8", Path(folder))
    return figures


def build() -> str:
    """What the figures depend on besides the source: they are stored for each of these."""
    info = offloop.build_info()
    return f"{info['compiler']}, {info['abi']}, Python {sys.version_info.major}.{sys.version_info.minor}"


def judged(figures: dict[str, float], stored: dict[str, float], tolerance: float) -> tuple[list[str], bool]:
    """A line for every figure, and whether all of them hold."""
    lines, good = [], True
    for name in figures.keys() | stored.keys():
        counted, before = figures.get(name, 0.0), stored.get(name, 0.0)
        if not counted or not before:
            lines.append(f"  LOST     {name}: {'not counted' if not counted else 'not stored'}")
            good = False
            continue
        change = counted / before - 1
        word = "WORSE" if change > tolerance else "better" if change < -tolerance else "ok"
        good = good and word != "WORSE"
        lines.append(f"  {word:<8} {name}: {counted:.4g}, stored {before:.4g} ({change:+.1%})")
    return sorted(lines), good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store what was counted, for this compiler and Python")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="share (default %(default)s)")
    given = parser.parse_args()
    if not callgrind.is_installed():
        print("guard: valgrind is not installed, nothing is counted")
        return 0
    all_stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    figures = {name: float(f"{value:.6g}") for name, value in count_all().items()}
    print(f"guard: {build()}")
    if given.write:
        STORED.write_text(json.dumps({**all_stored, build(): figures}, indent=1, sort_keys=True) + "\n")
        for name, value in figures.items():
            print(f"  stored   {name}: {value:.4g}")
        return 0 if all(figures.values()) else 1
    if build() not in all_stored:
        known = "; ".join(all_stored) or "nothing"
        print(f"  no figures are stored for this build (there are: {known}); --write stores them")
        for name, value in figures.items():
            print(f"  counted  {name}: {value:.4g}")
        return 0
    lines, good = judged(figures, all_stored[build()], given.tolerance)
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
