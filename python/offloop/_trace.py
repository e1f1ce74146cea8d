"""A trace of operations, as JSON that Perfetto (ui.perfetto.dev) and chrome://tracing show."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType
from typing import Any, Literal

from . import _core
from ._trace_json import Operation, write

_MOST = 2**24


class Trace:
    """A running trace, made by :func:`offloop.trace`.

    A context manager: the end of the block stops it, and writes it where a path was given.
    """

    def __init__(self, path: str | os.PathLike[str] | None, sample: float, capacity: int) -> None:
        self._path = path
        self._sample = sample
        self._capacity = capacity
        self._pid = os.getpid()
        self._handle = _core.trace_start(capacity, sample)
        _open.add(self)
        _watch_forks()

    def stop(self) -> None:
        """Stops recording; what was recorded stays. An operation that has not ended by then is shown as pending."""
        _core.trace_stop(self._handle)

    @property
    def seen(self) -> int:
        """Operations started while it ran, sampled or not."""
        return self._read()[1]

    @property
    def dropped(self) -> int:
        """Recorded operations that later ones have overwritten: more than ``capacity`` were recorded."""
        return self._read()[2]

    def operations(self) -> list[Operation]:
        """What is recorded now, oldest first. Times are in nanoseconds of ``time.monotonic_ns()``; 0 is unknown."""
        return sorted((Operation(*record) for record in self._read()[0]), key=lambda operation: operation.called_ns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the JSON, compressed when the name ends in ``.gz``. While the trace runs: what there is so far.

        :raises OSError: the file cannot be written.
        """
        records, seen, dropped, started_ns, now_ns = self._read()
        write(
            path,
            sorted((Operation(*record) for record in records), key=lambda operation: operation.called_ns),
            origin_ns=started_ns,
            now_ns=now_ns,
            threads={thread.native_id: thread.name for thread in threading.enumerate() if thread.native_id is not None},
            about={"seen": seen, "recorded": len(records) + dropped, "dropped": dropped, "sample": self._sample,
                   "capacity": self._capacity},
        )  # fmt: skip

    def _read(self) -> tuple[list[tuple[Any, ...]], int, int, int, int]:
        return _core.trace_read(self._handle)

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        self.stop()
        # A forked child leaves the block, too: the file is its parent's.
        if self._path is not None and os.getpid() == self._pid:
            self.save(self._path)
        return False

    def __repr__(self) -> str:
        return f"<offloop.trace: {self.seen} operations seen, sample {self._sample:g}>"


_open: weakref.WeakSet[Trace] = weakref.WeakSet()
_forks_watched = False


def _watch_forks() -> None:
    """A forked child has none of the operations: its parent's trace ends in it, and it may begin its own."""
    global _forks_watched
    if not _forks_watched:
        _forks_watched = True
        os.register_at_fork(after_in_child=_stop_all)


def _stop_all() -> None:
    for trace in list(_open):
        trace.stop()


def trace(path: str | os.PathLike[str] | None = None, *, sample: float = 1.0, capacity: int = 32_768) -> Trace:
    """Starts to record operations: submit, queue, run, deliver, with the names of operation and asyncio task.

    ::

        with offloop.trace("out.json"):                  # written at the end of the block
            await handle(requests)

        trace = offloop.trace(sample=0.01)               # runs until stop(), or until nobody holds it
        ...
        trace.save("out.json.gz")                        # as often as wanted

    The file opens in ui.perfetto.dev: a track for each loop (submit and deliver, the latter with the step of the task
    that waited), one for each worker (a row for each lane in use), an arrow from submit over run to deliver, and an
    asynchronous slice for each operation, with its time in the queue.

    A process has one trace at a time; all its loops and threads are in it. Memory is bounded: about 100 bytes for each
    of ``capacity`` operations, of which the newest stay. Costs about a microsecond for each recorded operation, a few
    nanoseconds for one that the sample leaves out, and nothing while no trace runs. ``sha256_many`` and other calls of
    many items are one operation. Before Python 3.14 an eager task gets its name after its first step: what that step
    starts carries ``Task-N``.

    :param path: where the end of the ``with`` block writes to; None: nowhere, use :meth:`Trace.save`.
    :param sample: the share of operations that is recorded, above 0 and up to 1; chosen independently for each.
    :param capacity: how many are kept, 1 to 16,777,216.
    :raises RuntimeError: another trace is running.
    :raises ValueError: ``sample`` or ``capacity`` out of its range.
    """
    if not 0 < sample <= 1:
        raise ValueError(f"sample must be above 0 and at most 1, got {sample!r}")
    if not isinstance(capacity, int) or isinstance(capacity, bool):
        raise TypeError(f"capacity must be an int, not {type(capacity).__name__}")
    if not 1 <= capacity <= _MOST:
        raise ValueError(f"capacity must be between 1 and {_MOST}, got {capacity}")
    return Trace(path, sample, capacity)
