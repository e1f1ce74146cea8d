"""Recorded operations as events of the Chrome trace format."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

# Tracks of threads that are not Python's get numbers of their own, far from the system's: a row for each lane in use.
_WORKERS = 1_000_000_000
_ELSEWHERE = _WORKERS + 256 * 10_000
_ROWS = 10_000

Event = dict[str, Any]


class Operation(NamedTuple):
    """One recorded operation. The order is that of ``_core.trace_read``."""

    number: int
    name: str
    #: the asyncio task that awaited it, else the one that started it; None outside of tasks
    task: str | None
    #: the loop's thread, as the system counts threads
    thread: int
    loop: int
    called_ns: int
    returned_ns: int
    #: taken by the pool: later than `returned_ns` when it waited for a slot (``max_pending``)
    submitted_ns: int
    started_ns: int
    ended_ns: int
    delivered_ns: int
    #: whoever waited has been stepped
    woken_ns: int
    #: 1 + the number of the pool's worker; 0: elsewhere (transfers, pictures of URLs, files), or it never ran
    worker: int
    #: pending, value, error, cancelled, or inline: it ran on the loop at once
    outcome: str


def write(
    path: str | os.PathLike[str],
    operations: Sequence[Operation],
    *,
    origin_ns: int,
    now_ns: int,
    threads: Mapping[int, str],
    about: Mapping[str, Any],
) -> None:
    """Write the file, an event a line; times count from ``origin_ns``."""
    events = sorted(_events(operations, now_ns), key=lambda event: event["ts"])
    with _opened(path) as file:
        file.write('{"displayTimeUnit": "ns",\n')
        file.write(f'"otherData": {json.dumps({"program": "offloop", **about})},\n"traceEvents": [\n')
        names = _metadata(events, threads)
        for number, event in enumerate((*names, *events)):
            if "ts" in event:
                event["ts"] = (event["ts"] - origin_ns) / 1000
            if "dur" in event:
                event["dur"] /= 1000
            file.write((",\n" if number else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")


def _opened(path: str | os.PathLike[str]) -> TextIO:
    if os.fspath(path).endswith(".gz"):
        return gzip.open(path, "wt", encoding="utf-8", compresslevel=5)
    return open(path, "w", encoding="utf-8")


def _events(operations: Sequence[Operation], now_ns: int) -> Iterator[Event]:
    pid = os.getpid()
    rows = _Rows()
    for operation in sorted(operations, key=lambda one: one.started_ns):
        for event in _of_one(operation, now_ns, rows):
            event["pid"] = pid
            yield event


def _of_one(operation: Operation, now_ns: int, rows: _Rows) -> Iterator[Event]:
    loop, args = operation.thread, _args(operation)
    returned = max(operation.returned_ns, operation.called_ns)
    if operation.outcome == "inline":
        yield _slice(operation.name, loop, operation.called_ns, returned, args)
        return
    # What ended in the queue never ran.
    ran = operation.started_ns != 0 and operation.ended_ns != 0 and operation.delivered_ns != 0
    end = operation.delivered_ns or operation.ended_ns or now_ns
    span: Event = {"cat": "operation", "id": operation.number, "tid": loop}
    yield {"name": operation.name, "ph": "b", "ts": operation.called_ns, **span, "args": args}
    yield _slice(f"submit {operation.name}", loop, operation.called_ns, returned, args)
    if operation.started_ns:
        yield {"name": "queue", "ph": "b", "ts": returned, **span}
        yield {"name": "queue", "ph": "e", "ts": max(operation.started_ns, returned), **span}
    flow: Event = {"name": operation.name, "cat": "flow", "id": operation.number}
    yield {**flow, "ph": "s", "ts": operation.called_ns, "tid": loop}
    if ran:
        begun = operation.started_ns
        ended = max(operation.ended_ns, begun)
        track = rows.track(operation.worker, begun, ended)
        yield _slice(operation.name, track, begun, ended, args)
        yield {**flow, "ph": "t", "ts": begun, "tid": track}
    if operation.delivered_ns:
        woken = max(operation.woken_ns, operation.delivered_ns)
        yield _slice(f"deliver {operation.name}", loop, operation.delivered_ns, woken, args)
        yield {**flow, "ph": "f", "bp": "e", "ts": operation.delivered_ns, "tid": loop}
    yield {"name": operation.name, "ph": "e", "ts": max(end, returned), **span}


def _slice(name: str, track: int, begin: int, end: int, args: Event) -> Event:
    return {"name": name, "cat": "offloop", "ph": "X", "ts": begin, "dur": end - begin, "tid": track, "args": args}


def _args(operation: Operation) -> Event:
    args: Event = {"operation": operation.number, "outcome": operation.outcome}
    if operation.task is not None:
        args["task"] = operation.task
    times = {
        "parked_us": operation.submitted_ns - operation.returned_ns if operation.submitted_ns else 0,
        "queue_us": operation.started_ns - operation.submitted_ns
        if operation.started_ns and operation.submitted_ns
        else 0,
        "run_us": operation.ended_ns - operation.started_ns if operation.started_ns and operation.ended_ns else 0,
        "deliver_us": operation.delivered_ns - operation.ended_ns
        if operation.delivered_ns and operation.ended_ns
        else 0,
    }
    return args | {name: ns / 1000 for name, ns in times.items() if ns > 0}


class _Rows:
    """Works of one worker overlap, for they share its lanes; slices of one track must not: each gets a free row."""

    def __init__(self) -> None:
        self._ends: dict[int, list[int]] = {}

    def track(self, worker: int, begin: int, end: int) -> int:
        """The track of a slice. Asked in the order of their beginnings."""
        ends = self._ends.setdefault(worker, [])
        row = next((row for row, free in enumerate(ends) if free <= begin), len(ends))
        if row == len(ends):
            ends.append(end)
        ends[row] = end
        return (_WORKERS + worker * _ROWS if worker else _ELSEWHERE) + min(row, _ROWS - 1)


def _metadata(events: Iterable[Event], threads: Mapping[int, str]) -> Iterator[Event]:
    pid = os.getpid()
    yield {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": f"offloop {pid}"}}
    for order, track in enumerate(sorted({event["tid"] for event in events})):
        name = _track_name(track) or f"loop in {threads.get(track, f'thread {track}')}"
        yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": track, "args": {"name": name}}
        yield {"name": "thread_sort_index", "ph": "M", "pid": pid, "tid": track, "args": {"sort_index": order}}


def _track_name(track: int) -> str | None:
    if track < _WORKERS:
        return None
    worker, row = divmod(track - _WORKERS, _ROWS)
    thread = "offloop transfers and files" if track >= _ELSEWHERE else f"offloop-w{worker - 1}"
    return thread if row == 0 else f"{thread}, lane {row + 1}"
