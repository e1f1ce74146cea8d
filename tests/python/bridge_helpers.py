"""What the tests of the bridge share: operations that end when they are told to, waiting for a state, programs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import offloop
from offloop import Operation, hashing

# More than any loop hashes inline (20 us of SHA-256 at 5 GB/s), so that it goes to the pool.
DATA = bytes(range(256)) * 800
DIGEST = hashlib.sha256(DATA).hexdigest()

PATIENCE_S = 30.0
PROGRAMS = Path(__file__).parent / "programs"


def sha256(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


class Gate:
    """An operation that runs, and holds its slot, until it is opened: it hashes what comes out of a pipe."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    @property
    def path(self) -> str:
        return f"/dev/fd/{self._reading}"

    def operation(self) -> Operation[str]:
        return hashing.file_hexdigest(self.path)

    def open(self) -> None:
        """Lets the operation end."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1

    def close(self) -> None:
        self.open()
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# What a gate's operation yields.
NOTHING = hashlib.sha256(b"").hexdigest()


@contextlib.contextmanager
def settings(**changes: Any) -> Iterator[None]:
    """The pool's settings, changed for one test."""
    before = offloop.configure()
    offloop.configure(**changes)
    if "threads" in changes:  # those that are too many may take one more work before they leave
        block_until(lambda: worker_threads() <= changes["threads"], "workers to leave")
    try:
        yield
    finally:
        offloop.configure(**before)


def worker_threads() -> int:
    """The pool's threads that exist now."""
    found = 0
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            name = Path(f"/proc/self/task/{task}/comm").read_text().strip()
            found += name.removeprefix("offloop-w").isdigit()  # not offloop-write, the fetcher's writer
    return found


def zeros(size: int) -> mmap.mmap:
    """A large buffer that costs no memory: every page is the kernel's page of zeros."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


async def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Lets the loop turn until `condition` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain for {what}"
        await asyncio.sleep(0)


def block_until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Waits without letting the loop turn: what ends meanwhile is published, not delivered."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain for {what}"
        time.sleep(0.0005)


def published(data: bytes = DATA, count: int = 1) -> list[Operation[str]]:
    """Operations that have ended on the native side, and that the loop has not heard of."""
    before = offloop.stats()["done"]
    made = [offloop.sha256(data) for _ in range(count)]
    waiting = sum(not operation.done() for operation in made)
    block_until(lambda: offloop.stats()["done"] >= before + waiting and offloop.stats()["running"] == 0)
    return made


def resizable(buffer: bytearray) -> bool:
    """Whether nobody holds an export of it."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


def run_program(
    name: str,
    *arguments: object,
    env: dict[str, str] | None = None,
    timeout: float = 30,
    options: tuple[str, ...] = (),
    loop_kind: str = "asyncio",
) -> subprocess.CompletedProcess[str]:
    """Runs tests/python/programs/NAME.py in a fresh interpreter of the same kind, on asyncio's loops or on uvloop's."""
    programs = [str(PROGRAMS / f"{name}.py")]
    if loop_kind == "uvloop":
        pytest.importorskip("uvloop")
        programs.insert(0, str(PROGRAMS / "under_uvloop.py"))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OFFLOOP_", "PYTHONASYNCIO"))}
    return subprocess.run(
        [sys.executable, *options, *programs, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**environment, **(env or {})},
        timeout=timeout,
        check=False,
    )


def assert_clean(ended: subprocess.CompletedProcess[str], stdout: str = "ok\n") -> None:
    """Exit code 0, the expected output, and nothing on stderr."""
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", stdout)
