"""Digests of many files: a window of them in flight, results in the order of the names."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Generic, TypeVar

from offloop import hashing
from offloop.cli.exit_codes import INTERRUPTED, Ended
from offloop.errors import OffloopError

# Enough for two times 16 SIMD lanes and the readers ahead of them; open files and memory stay bounded.
FILES_IN_FLIGHT = 64

_STDIN_BLOCK_BYTES = 1 << 20

Key = TypeVar("Key")


@dataclass(slots=True)
class HashedFile(Generic[Key]):
    """What became of one file: either `digest` (hexadecimal) or `error` is set. `key` is the caller's own."""

    key: Key
    path: str
    digest: str | None = None
    error: Exception | None = None


async def hash_in_order(
    files: Iterable[tuple[Key, str | Exception]], algorithm: str, in_flight: int = FILES_IN_FLIGHT
) -> AsyncIterator[HashedFile[Key]]:
    """Hash `files`, pairs of a key and a path ("-" is standard input), and yield the results in the same order.

    An exception in place of a path is passed through as that file's result. Cancelling drops what is in flight.
    """
    window: deque[tuple[HashedFile[Key], Awaitable[str] | None]] = deque()
    for key, path in files:
        window.append(_start(key, path, algorithm))
        if len(window) >= in_flight:
            yield await _finish(*window.popleft(), algorithm)
    while window:
        yield await _finish(*window.popleft(), algorithm)


def _start(key: Key, path: str | Exception, algorithm: str) -> tuple[HashedFile[Key], Awaitable[str] | None]:
    if isinstance(path, Exception):
        return HashedFile(key, "", error=path), None
    if path == "-":
        return HashedFile(key, path), None
    try:
        return HashedFile(key, path), hashing.file_hexdigest(path, algorithm)
    except (OSError, ValueError, OffloopError) as error:
        return HashedFile(key, path, error=error), None


async def _finish(result: HashedFile[Key], operation: Awaitable[str] | None, algorithm: str) -> HashedFile[Key]:
    try:
        if operation is not None:
            result.digest = await operation
        elif result.error is None:
            result.digest = _hash_standard_input(algorithm)
    except (OSError, OffloopError) as error:
        result.error = error
    return result


def _hash_standard_input(algorithm: str) -> str:
    # In place: the files in flight do not need this thread, and Ctrl-C interrupts the read (see `run_interruptible`).
    digest = hashlib.new(algorithm)
    with _waking_on_signals() as until_readable:
        until_readable()
        while block := os.read(0, _STDIN_BLOCK_BYTES):
            digest.update(block)
            until_readable()
    return digest.hexdigest()


@contextlib.contextmanager
def _waking_on_signals() -> Iterator[Callable[[], None]]:
    """Give a function that waits until standard input can be read or a signal has come. [main thread]

    A signal that comes just before read() blocks would be looked at after it only. Its byte in the pipe ends the wait,
    and the interpreter runs the handler before the next statement.
    """
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(woken, select.POLLIN)
    try:
        yield lambda: _until_readable(poll, woken)
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wake)


def _until_readable(poll: select.poll, woken: int) -> None:
    while 0 not in dict(poll.poll()):
        os.read(woken, 4096)  # of a signal whose handler did not raise


def run_interruptible(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run `main` on an event loop where Ctrl-C raises KeyboardInterrupt at once, even in a blocking read."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # asyncio.run replaces the default handler by one that waits for the loop; it leaves any other alone.
        signal.signal(signal.SIGINT, _interrupt)
    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        raise Ended(INTERRUPTED, "interrupted") from None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def reason(error: Exception) -> str:
    """Return the system's words for `error` ("No such file or directory"), or its own."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(error) or type(error).__name__
