"""The URLs to fetch: from the command line, or streamed from a file or a pipe of any length."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence

from offloop.cli import exit_codes
from offloop.cli.quoting import quote_name

_READ_BYTES = 64 * 1024
# A longer line is no URL: its end is read and dropped, its beginning is handed on as a CutLine.
MAX_LINE_BYTES = 64 * 1024
_CUT_LINE_SHOWN = 200
# Batches that wait for the fetcher; with _READ_BYTES it bounds what is read ahead of it.
_BATCHES_AHEAD = 2


class CutLine(str):
    """The beginning of a line that was longer than MAX_LINE_BYTES: to be reported, never to be fetched."""

    __slots__ = ()


async def from_arguments(urls: Sequence[str]) -> AsyncIterator[list[str]]:
    """Yield the URLs of the command line, as one batch."""
    yield list(urls)


class FileListing:
    """The lines of a file or pipe ("-" is standard input) as batches of URLs.

    Spaces around a URL, empty lines and lines that begin with ``#`` are dropped. A thread reads, so that a pipe that is
    slow to fill holds up neither the transfers under way nor Ctrl-C; it is a few batches ahead and no more.

    Raises Ended (exit code 3) when the file cannot be opened, and from the iteration when it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unreadable(error) from error

    def __aiter__(self) -> AsyncIterator[list[str]]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[list[str]]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[list[str] | OSError | None] = asyncio.Queue()
        room = threading.Semaphore(_BATCHES_AHEAD)
        # A daemon on the bare descriptor: blocked in a read, it must not keep the process from ending.
        reader = threading.Thread(target=_read, args=(self._fd, loop, queue, room), daemon=True, name="offloop-listing")
        reader.start()
        while (batch := await queue.get()) is not None:
            room.release()
            if isinstance(batch, OSError):
                raise self._unreadable(batch)
            yield batch
        if self._path != "-":
            os.close(self._fd)

    def _unreadable(self, error: OSError) -> exit_codes.Ended:
        name = "standard input" if self._path == "-" else self._path
        return exit_codes.Ended(exit_codes.INPUT_UNREADABLE, f"{quote_name(name)}: {error.strerror or error}")


def _read(
    fd: int,
    loop: asyncio.AbstractEventLoop,
    queue: asyncio.Queue[list[str] | OSError | None],
    room: threading.Semaphore,
) -> None:
    """[the reader thread] Put batches, and at the end None or the error."""
    last: OSError | None = None
    try:
        for lines in _lines(fd):
            batch = [url for line in lines if (url := _url_of(line))]
            if batch:
                room.acquire()
                loop.call_soon_threadsafe(queue.put_nowait, batch)
    except OSError as error:
        last = error
    except RuntimeError:
        return  # the loop was closed: nobody reads any more
    try:
        loop.call_soon_threadsafe(queue.put_nowait, last)
    except RuntimeError:
        return


def _lines(fd: int) -> Iterator[list[bytes]]:
    """Yield what each read completes; a line of more than MAX_LINE_BYTES loses its end."""
    pending = b""
    dropping = False
    while piece := os.read(fd, _READ_BYTES):
        first, *others = piece.split(b"\n")
        if not dropping:
            first = pending + first
        if not others:
            pending = b"" if dropping else first
        else:
            *whole, pending = ([first] if not dropping else []) + others
            dropping = False
            yield whole
        if len(pending) > MAX_LINE_BYTES:
            yield [pending[: MAX_LINE_BYTES + 1]]
            pending, dropping = b"", True
    if pending:
        yield [pending]


def _url_of(line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        return CutLine(os.fsdecode(line[:_CUT_LINE_SHOWN]))
    line = line.strip()
    return "" if line.startswith(b"#") else os.fsdecode(line)
