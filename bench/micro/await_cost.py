"""What one await costs the event loop's thread, beside run_in_executor and to_thread, and what a lone await takes.

The figure is CPU time of the loop's thread (time.thread_time) for a TaskGroup of N tasks that each await one operation,
less the same TaskGroup of empty tasks, divided by N. Hashing happens on other threads and does not count, except where
the operation runs inline, which has rows of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import harness
from harness import Loop, Report, Row, Spread

import offloop

# Small enough to run inline, always; hashed by the pool in a burst once the inline credit is spent; always the pool's.
INLINE_BYTES = 1000
BURST_BYTES = 4096
LARGE_BYTES = 40_000

BEST_OF = 9
BEST_OF_DEAR = 3  # of what takes ten times as long, and is compared with a tenth of it

TARGET_SECONDS = 1.5e-6
TARGET_EXECUTOR = 10.0
TARGET_LONE_SECONDS = 25e-6

Make = Callable[[bytes], Coroutine[Any, Any, str]]


def hash_here(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


async def empty(payload: bytes) -> str:
    return ""


async def with_offloop(payload: bytes) -> str:
    return await offloop.sha256(payload)


def operation_as_task(payload: bytes) -> Coroutine[Any, Any, str]:
    return offloop.sha256(payload)


async def with_executor(payload: bytes) -> str:
    return await asyncio.get_running_loop().run_in_executor(None, hash_here, payload)


async def with_to_thread(payload: bytes) -> str:
    return await asyncio.to_thread(hash_here, payload)


async def loop_cpu(make: Make, payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    """Seconds of the loop thread's CPU for each payload: the least of several runs, as timeit has it.

    What others do to the caches and to the other half of the core only ever adds to the CPU time of a run, up to a
    factor of two on a shared host, and the figure sought is a difference of two such times.
    """
    best = float("inf")
    for _ in range(BEST_OF_DEAR if make in (with_executor, with_to_thread) else BEST_OF):
        started = time.thread_time()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(make(payload)) for payload in payloads]
        best = min(best, time.thread_time() - started)
        if make is not empty:
            harness.agree([task.result() for task in tasks], expected)
    return best / len(payloads)


def over_empty(row: Row, name: str) -> Spread:
    """Of each round, so that a drift of the machine cancels out."""
    return Spread.of([a - b for a, b in zip(row.rounds[name], row.rounds["empty task"], strict=True)])


def burst(report: Report, kind: str, count: int, size: int, repeats: int, *, judged: bool) -> None:
    payloads = harness.payloads(count, size)
    expected = [hash_here(payload) for payload in payloads]
    makes: dict[str, Make] = {
        "empty task": empty,
        "offloop.sha256": with_offloop,
        "offloop.sha256 as the task": operation_as_task,
        "run_in_executor": with_executor,
        "to_thread": with_to_thread,
    }
    before = offloop.stats()
    with Loop(kind) as loop:
        contenders = {
            name: loop.contender(lambda make=make: loop_cpu(make, payloads, expected))  # type: ignore[misc]
            for name, make in makes.items()
        }
        row = harness.measure(f"{kind}: TaskGroup of {count} tasks, {size} bytes each", "s", contenders, repeats)
    after = offloop.stats()
    ours = over_empty(row, "offloop.sha256")
    executor = over_empty(row, "run_in_executor")
    runs = 2 * (repeats + 1) * BEST_OF
    inlined = (after["inlined"] - before["inlined"]) / runs
    drains = (after["drains"] - before["drains"]) / runs
    row.notes.append(f"of {count} operations {inlined:.0f} ran inline; {drains:.0f} drains")
    row.values["offloop over an empty task"] = ours
    row.values["offloop as the task, over an empty task"] = over_empty(row, "offloop.sha256 as the task")
    row.values["run_in_executor over an empty task"] = executor
    row.values["to_thread over an empty task"] = over_empty(row, "to_thread")
    times_less = Spread.of(
        [
            (e - n) / (o - n)
            for e, o, n in zip(
                row.rounds["run_in_executor"], row.rounds["offloop.sha256"], row.rounds["empty task"], strict=True
            )
        ]
    )
    if judged:
        row.demand("one await over an empty task", ours, TARGET_SECONDS, at_least=False, unit="s")
        row.demand("run_in_executor over offloop, both over an empty task", times_less, TARGET_EXECUTOR)
    else:
        row.ratios["run_in_executor over offloop, both over an empty task"] = times_less
    report.add(row)


async def one_after_another(work: harness.Work, payload: bytes, expected: str, count: int) -> float:
    """Wall seconds of one await with nothing else to do."""
    answers = []
    started = time.perf_counter()
    for _ in range(count):
        answers.append(await work(payload))
    seconds = time.perf_counter() - started
    harness.agree(answers, [expected] * count)
    return seconds / count


async def hash_inline(payload: bytes) -> str:
    return hash_here(payload)


def bare_wakes(count: int) -> float:
    """Wall seconds of waking a sleeping thread that wakes this one, as a lone await must: what the machine takes."""
    request, reply = os.eventfd(0), os.eventfd(0)

    def echo() -> None:
        for _ in range(count):
            os.eventfd_write(reply, os.eventfd_read(request))

    other = threading.Thread(target=echo)
    other.start()
    with select.epoll() as poll:
        poll.register(reply, select.EPOLLIN)
        started = time.perf_counter()
        for _ in range(count):
            os.eventfd_write(request, 1)
            poll.poll()
            os.eventfd_read(reply)
        seconds = time.perf_counter() - started
    other.join()
    os.close(request)
    os.close(reply)
    return seconds / count


def lone(report: Report, kind: str, size: int, count: int, repeats: int, *, judged: bool) -> None:
    payload = harness.payloads(1, size)[0]
    expected = hash_here(payload)
    works: dict[str, harness.Work] = {
        "hashlib inline": hash_inline,
        "offloop.sha256": offloop.sha256,
        "run_in_executor": with_executor,
        "to_thread": with_to_thread,
    }
    with Loop(kind) as loop:
        contenders = {
            name: loop.contender(lambda work=work: one_after_another(work, payload, expected, count))  # type: ignore[misc]
            for name, work in works.items()
        }
        if judged:
            contenders["two bare wakes (eventfd, epoll)"] = lambda: bare_wakes(count)
        row = harness.measure(f"{kind}: a lone await, {size} bytes, wall time", "s", contenders, repeats)
    handover = Spread.of(
        [a - b for a, b in zip(row.rounds["offloop.sha256"], row.rounds["hashlib inline"], strict=True)]
    )
    row.values["offloop over hashlib inline"] = handover
    if judged:
        row.demand("a lone await over hashlib inline", handover, TARGET_LONE_SECONDS, at_least=False, unit="s")
    else:
        row.compare("hashlib inline", "offloop.sha256")
    report.add(row)


def main() -> None:
    given = harness.arguments(__doc__, repeats=15)
    report = Report("await_cost", given)
    below, above = (500, 3000) if given.quick else (1000, 10_000)
    for kind in harness.loop_kinds():
        burst(report, kind, below, BURST_BYTES, given.repeats, judged=True)
        burst(report, kind, above, BURST_BYTES, given.repeats, judged=True)
        burst(report, kind, below, LARGE_BYTES, given.repeats, judged=False)
        burst(report, kind, below, INLINE_BYTES, given.repeats, judged=False)
        lone(report, kind, LARGE_BYTES, 50 if given.quick else 500, given.repeats, judged=True)
        lone(report, kind, INLINE_BYTES, 500 if given.quick else 5000, given.repeats, judged=False)
    report.finish()


if __name__ == "__main__":
    main()
