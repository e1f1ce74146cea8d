"""``offloop doctor``: what is installed, what was chosen for this machine, and whether it works."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from offloop.cli import exit_codes
from offloop.cli.group import version

# What the optional features and the examples need, by the name to import.
EXTRAS = ("aiohttp", "blake3", "click", "matplotlib", "numpy", "PIL", "pyarrow", "rich", "uvloop")


# Values of OFFLOOP_CPU; those that this CPU cannot run are skipped.
CPU_MODES = ("portable", "shani1", "shani", "avx2", "avx512", "neon", "armv8")


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the self-test; `problem` is empty when it passed, `seen` says what was tried, or why nothing was."""

    name: str
    seen: str = ""
    problem: str = ""
    skipped: bool = False

    @property
    def word(self) -> str:
        """The verdict."""
        return "FAILED" if self.problem else "skipped" if self.skipped else "ok"


class _Skipped(Exception):
    """A test does not apply to this machine."""


@click.command(
    "doctor",
    short_help="Show versions and choices, and run a self-test.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def command(as_json: bool) -> int:
    """Show versions, the CPU and the kernel chosen, the extras found, and run a self-test.

    The self-test hashes known vectors with every kernel that this CPU has, and fetches from a local origin; it needs no
    network. Exit code 0 when everything works, 1 when not.
    """
    facts = _facts()
    checks = [_run_check(name, test) for name, test in _tests()]
    good = all(not check.problem for check in checks)
    if as_json:
        report = {
            **facts,
            "checks": [
                {
                    "name": check.name,
                    "ok": not check.problem,
                    "skipped": check.skipped,
                    "detail": check.problem or check.seen,
                }
                for check in checks
            ],
            "ok": good,
        }
        print(json.dumps(report, default=str))
    else:
        _print(facts, checks, good)
    return exit_codes.ALL_OK if good else exit_codes.SOME_FAILED


def _print(facts: dict[str, Any], checks: list[Check], good: bool) -> None:
    for title, values in facts.items():
        print(title)
        for name, value in values.items():
            lines = value if isinstance(value, list) else [value]
            print(f"  {name:<20} " + f"\n  {'':<20} ".join(map(str, lines)))
    print("self-test")
    for check in checks:
        print(f"  {check.word:<7} {check.name}: {check.problem or check.seen}")
    print("everything works" if good else "something is broken: please report it with the lines above")


# --- facts ----------------------------------------------------------------------------------------------------------


def _facts() -> dict[str, Any]:
    return {
        "versions": {
            "offloop": version(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "system": platform.platform(),
            "libc": " ".join(platform.libc_ver()),
        },
        "machine": {
            "architecture": platform.machine(),
            "usable CPUs": len(os.sched_getaffinity(0)),
            "OFFLOOP_CPU": os.environ.get("OFFLOOP_CPU", "not set"),
            "OFFLOOP_THREADS": os.environ.get("OFFLOOP_THREADS", "not set"),
        },
        "native": _native(),
        "extras": {name: _installed(name) for name in EXTRAS},
    }


def _native() -> dict[str, Any]:
    try:
        import offloop

        info = offloop.build_info()
        return {name: _flat(value) for name, value in info.items()}
    except Exception as error:  # a broken build is what this command is for
        return {"broken": f"{type(error).__name__}: {error}"}


def _flat(value: Any) -> Any:
    """Turn rows of a table into short words ("streams=1 kernels=SHA-NI x1")."""
    if isinstance(value, list):
        return [
            " ".join(f"{key}={cell}" for key, cell in row.items()) if isinstance(row, dict) else row for row in value
        ]
    return value


def _installed(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return "not installed"
    try:
        return importlib.metadata.version({"PIL": "pillow"}.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return "installed, version unknown"


# --- self-test ------------------------------------------------------------------------------------------------------

# Run in processes of their own, because the kernels are chosen once a process. Sizes around the block of 64 bytes, and
# enough messages at once for the widest kernel; the reference is hashlib, the first three are also FIPS 180-2 vectors.
HASH_TEST = """
import asyncio, hashlib, sys, offloop, offloop.hashing
problem = offloop.build_info().get("cpu_problem")
if problem:
    sys.exit(f"SKIPPED {problem}")
payloads = [b"abc", b"", b"a" * 1000000, b"x" * 55, b"x" * 56, b"x" * 63, b"x" * 64, b"x" * 65, b"x" * 4096] * 8
known = ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"]
async def main():
    together = await offloop.hashing.sha256_many(payloads)
    each = await asyncio.gather(*[offloop.hashing.sha256(payload) for payload in payloads])
    expected = [hashlib.sha256(payload).hexdigest() for payload in payloads]
    assert expected[:3] == known, "hashlib itself is broken"
    for name, found in (("sha256_many", together), ("sha256", each)):
        for payload, right, digest in zip(payloads, expected, found, strict=True):
            assert digest == right, f"{name} of {len(payload)} bytes: expected {right}, got {digest}"
    print(len(payloads), "messages")
asyncio.run(main())
"""

OTHER_ALGORITHMS_TEST = """
import asyncio, hashlib, offloop.hashing
async def main():
    names = sorted(offloop.hashing.algorithms_available() & hashlib.algorithms_available)
    for name in names:
        right = hashlib.new(name, b"abc").hexdigest()
        found = await offloop.hashing.hexdigest(b"abc", name)
        assert found == right, f"{name}: expected {right}, got {found}"
    print(", ".join(names))
asyncio.run(main())
"""


def _tests() -> list[tuple[str, Callable[[], str]]]:
    tests: list[tuple[str, Callable[[], str]]] = [("hash as chosen for this CPU", lambda: _python(HASH_TEST))]
    tests += [(f"hash with OFFLOOP_CPU={mode}", _with_kernels(mode)) for mode in CPU_MODES]
    tests.append(("other algorithms", lambda: _python(OTHER_ALGORITHMS_TEST)))
    tests.append(("fetch from a local origin", _fetch_test))
    return tests


def _run_check(name: str, test: Callable[[], str]) -> Check:
    try:
        return Check(name, seen=test())
    except _Skipped as skipped:
        return Check(name, seen=str(skipped), skipped=True)
    except Exception as error:  # whatever a broken installation raises is the finding
        return Check(name, problem=f"{type(error).__name__}: {error}")


def _with_kernels(mode: str) -> Callable[[], str]:
    return lambda: _python(HASH_TEST, OFFLOOP_CPU=mode)


def _python(script: str, **environment: str) -> str:
    """Run `script` in a fresh interpreter; return what it prints, raise RuntimeError with its last words."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no words"]
        if last[0].startswith("SKIPPED "):
            raise _Skipped(last[0].removeprefix("SKIPPED ").strip(" ;"))
        raise RuntimeError(f"exit code {done.returncode}, {last[0]}")
    return done.stdout.strip()


def _fetch_test() -> str:
    import asyncio

    import offloop
    from offloop.testing import Origin, body_sha256

    sizes = (0, 1024, 3_000_000)
    with Origin() as origin:
        expected = {origin.url(f"/bytes/{size}?seed=doctor"): body_sha256(size, "doctor") for size in sizes}
        found = asyncio.run(offloop.fetch_and_hash_urls(list(expected), timeout=20))
    if found != expected:
        raise RuntimeError(f"expected {expected}, got {found}")
    return f"{len(sizes)} bodies, up to {max(sizes)} bytes"
