"""Structured cancellation: many operations are pending, one task fails; the time until everything has been told.

The clock runs from the failure until the TaskGroup has exited (or gather and the cancelling by hand have).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from offloop.bench.model import Case, Round
from offloop.bench.on_loop import Heartbeat, new_loop
from offloop.bench.tasks import contenders_of

FILES = ("asyncio_sleep", "asyncio_to_thread", "hybrid_sha256")

COUNT, QUICK_COUNT = 10_000, 1000
# Every operation hashes this one payload: large enough that few of them end before the failure.
PAYLOAD_BYTES = 10_000_000

# A pending operation, given its payload.
Pending = Callable[[bytes], Coroutine[Any, Any, Any]]
# Fails while all of them are pending; returns the seconds and the tasks.
Cancelling = Callable[[Sequence[Coroutine[Any, Any, Any]]], Awaitable[tuple[float, list["asyncio.Task[Any]"]]]]


@dataclass(frozen=True, slots=True)
class CancelWork:
    """What every contender of this task gets."""

    count: int
    payload: bytes
    digest: str


class Boom(Exception):
    """What fails."""


def case(*, quick: bool) -> Case:
    """10,000 pending (quick: 1000), one fails."""
    payload = bytes(PAYLOAD_BYTES)
    work = CancelWork(QUICK_COUNT if quick else COUNT, payload, hashlib.sha256(payload).hexdigest())
    return Case(
        task="cancel",
        name=f"{work.count} pending, one fails",
        items=work.count,
        total_bytes=0,
        bursts=1,
        work=work,
        expected=["Boom came out", f"{work.count} tasks ended", "most were cancelled", "no answer is wrong"],
        contenders=contenders_of(__name__, FILES),
    )


async def by_task_group(pending: Sequence[Coroutine[Any, Any, Any]]) -> tuple[float, list[asyncio.Task[Any]]]:
    """The group cancels."""
    failed_at = 0.0

    async def fail() -> None:
        nonlocal failed_at
        failed_at = time.perf_counter()
        raise Boom

    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in pending]
            await asyncio.sleep(0)  # every task has started: its operation is pending
            group.create_task(fail())
    except* Boom:
        seconds = time.perf_counter() - failed_at
    return seconds, tasks


async def by_hand(pending: Sequence[Coroutine[Any, Any, Any]]) -> tuple[float, list[asyncio.Task[Any]]]:
    """What one writes around gather(), which leaves the others running when one fails."""
    failed_at = 0.0

    async def fail() -> None:
        nonlocal failed_at
        failed_at = time.perf_counter()
        raise Boom

    tasks = [asyncio.create_task(one) for one in pending]
    await asyncio.sleep(0)
    try:
        await asyncio.gather(*tasks, fail())
    except Boom:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return time.perf_counter() - failed_at, tasks
    raise AssertionError("gather ended without the failure")


class _Cancels:
    """`Running`: one failure a round."""

    standing = True
    helpers: Sequence[int] = ()

    def __init__(self, runner: asyncio.Runner, work: CancelWork, pending: Pending, cancelling: Cancelling) -> None:
        self._runner = runner
        self._work = work
        self._pending = pending
        self._cancelling = cancelling

    def round(self, probe: bool) -> Round:
        return self._runner.run(self._round(probe))

    async def _round(self, probe: bool) -> Round:
        work = self._work
        heart = Heartbeat() if probe else None
        seconds, tasks = await self._cancelling([self._pending(work.payload) for _ in range(work.count)])
        stalls = heart.stop() if heart else []
        await self._pending_of_nothing()
        ended = sum(task.done() for task in tasks)
        cancelled = sum(task.cancelled() for task in tasks)
        answers = [task.result() for task in tasks if not task.cancelled()]
        wrong = [answer for answer in answers if answer != work.digest]
        said = [
            "Boom came out",
            f"{ended} tasks ended",
            "most were cancelled" if cancelled > work.count // 2 else f"only {cancelled} were cancelled",
            f"{wrong[0]!r} is wrong" if wrong else "no answer is wrong",
        ]
        return Round(seconds, [said], stalls=stalls)

    async def _pending_of_nothing(self) -> None:
        """Waits, outside of the clock, until what could not be stopped has ended: the next round must not see it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._pending(b"")


@contextlib.contextmanager
def cancels(work: CancelWork, pending: Pending, cancelling: Cancelling, kind: str = "asyncio") -> Iterator[_Cancels]:
    """A contender on a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.get_loop()
        yield _Cancels(runner, work, pending, cancelling)
