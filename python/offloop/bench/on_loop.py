"""Contenders that run on an event loop: the loop that stays open over their rounds, latencies, and its stalls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from offloop.bench import model
from offloop.bench.model import Missing, Round

Item = TypeVar("Item")
T = TypeVar("T")
# Does the work once and returns the answers; appends the latency of each item where a list is given.
Burst = Callable[[list[float] | None], Awaitable[Sequence[Any]]]

# How often a stall is looked for: often enough to find one of 2 ms, seldom enough to cost nothing.
HEARTBEAT_SECONDS = 1e-3


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """A loop of the kind "asyncio" or "uvloop". Raises Missing when uvloop is not installed."""
    if kind == "asyncio":
        return asyncio.new_event_loop()
    try:
        import uvloop
    except ImportError:
        raise Missing("uvloop is not installed (pip install 'offloop[uvloop]')") from None
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class Heartbeat:
    """Looks every millisecond how late the loop is. A stall counts once for every beat that it delayed.

    Else a stall of a second would be one look among many, and the less a loop runs the better it would seem.
    """

    def __init__(self) -> None:
        self.late: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._due = time.perf_counter() + HEARTBEAT_SECONDS
        self._handle = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._look()
        self._due = time.perf_counter() + HEARTBEAT_SECONDS
        self._handle = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _look(self) -> None:
        late = max(0.0, time.perf_counter() - self._due)
        while True:
            self.late.append(late)
            late -= HEARTBEAT_SECONDS
            if late <= 0:
                return

    def stop(self) -> list[float]:
        """End it and return how late each beat was, the one that has not come yet included."""
        self._handle.cancel()
        if time.perf_counter() > self._due or not self.late:
            self._look()
        return self.late


class OnLoop:
    """A contender on its own event loop; `Running`."""

    standing = True

    def __init__(self, runner: asyncio.Runner, burst: Burst, bursts: int, helpers: Sequence[int]) -> None:
        self._runner = runner
        self._burst = burst
        self._bursts = bursts
        self.helpers = helpers

    @property
    def each(self) -> Each | None:
        """What does one item at a time; None for a contender that wants all of them together."""
        return self._burst if isinstance(self._burst, Each) else None

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run something else on its loop."""
        return self._runner.run(main)

    def round(self, probe: bool) -> Round:
        return self._runner.run(self._round(probe))

    async def _round(self, probe: bool) -> Round:
        latencies: list[float] | None = [] if probe else None
        heart = Heartbeat() if probe else None
        done = []  # of every burst
        async with asyncio.timeout(model.ROUND_SECONDS):
            started = time.perf_counter()
            for _ in range(self._bursts):
                done.append(await self._burst(latencies))
            seconds = time.perf_counter() - started
        return Round(seconds, done, latencies or [], heart.stop() if heart else [])


@contextlib.contextmanager
def on_loop(
    burst: Burst,
    bursts: int,
    *,
    kind: str = "asyncio",
    helpers: Sequence[int] = (),
    opening: Callable[[], Coroutine[Any, Any, None]] | None = None,
    closing: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Iterator[OnLoop]:
    """Keep a loop open; `opening` and `closing` run on it before the first and after the last round."""
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.get_loop()
        if opening is not None:
            runner.run(opening())
        try:
            yield OnLoop(runner, burst, bursts, helpers)
        finally:
            if closing is not None:
                runner.run(closing())


class Each:
    """A TaskGroup of one task an item, as a program that awaits digests is written; all items are due at the start.

    With `at_once`, so many tasks that each take the next item, which is due when it is taken. A `Burst`.
    """

    def __init__(self, one: Callable[[Any], Awaitable[Any]], items: Sequence[Any], at_once: int | None) -> None:
        self.one = one
        self.items = items
        self._at_once = at_once

    async def __call__(self, latencies: list[float] | None) -> Sequence[Any]:
        return await (self._all_at_once(latencies) if self._at_once is None else self._bounded(latencies))

    async def _all_at_once(self, latencies: list[float] | None) -> Sequence[Any]:
        one = self.one
        due = time.perf_counter()

        async def plain(item: Any) -> Any:
            return await one(item)

        async def timed(item: Any) -> Any:
            answer = await one(item)
            assert latencies is not None  # chosen below
            latencies.append(time.perf_counter() - due)
            return answer

        task = plain if latencies is None else timed
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(task(item)) for item in self.items]
        return [task.result() for task in tasks]

    async def _bounded(self, latencies: list[float] | None) -> Sequence[Any]:
        answers: list[Any] = [None] * len(self.items)
        left = iter(enumerate(self.items))

        async def worker() -> None:
            for index, item in left:
                due = time.perf_counter()
                answers[index] = await self.one(item)
                if latencies is not None:
                    latencies.append(time.perf_counter() - due)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._at_once or 1, len(self.items))):
                group.create_task(worker())
        return answers


def each(one: Callable[[Item], Awaitable[Any]], items: Sequence[Item], at_once: int | None = None) -> Each:
    """See `Each`; typed by the items."""
    return Each(one, items, at_once)


def together(many: Callable[[Sequence[Item]], Awaitable[Sequence[Any]]], items: Sequence[Item]) -> Burst:
    """One call for all items: every answer is there when the last one is."""

    async def burst(latencies: list[float] | None) -> Sequence[Any]:
        due = time.perf_counter()
        answers = await many(items)
        if latencies is not None:
            latencies += [time.perf_counter() - due] * len(items)
        return answers

    return burst
