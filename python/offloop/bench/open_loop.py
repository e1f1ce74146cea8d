"""Open loop: items arrive whether or not earlier ones are done, and latency counts from when each was meant to start.

A closed loop asks for the next item when it has the last one: it slows down together with what it measures, and never
sees a queue. Here the queue of an overloaded contender grows, and shows.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from offloop.bench.figures import latency_dict, stall_dict
from offloop.bench.model import Case, Contender, Judge, Missing, unequal
from offloop.bench.on_loop import Each, Heartbeat, OnLoop

Arrivals = Literal["constant", "poisson"]

# After the last arrival so long is waited for what is still queued, then it counts as unfinished.
DRAIN_SECONDS = 2.0


def schedule(rate: float, seconds: float, arrivals: Arrivals, seed: int) -> Iterator[float]:
    """When each item is meant to start, in seconds from the beginning."""
    source = random.Random(seed)
    at = 0.0
    while True:
        at += 1 / rate if arrivals == "constant" else source.expovariate(rate)
        if at >= seconds:
            return
        yield at


@dataclass(slots=True)
class Served:
    """What became of the items of one contender at one rate."""

    offered: int = 0
    latencies: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    unfinished: int = 0
    failed: int = 0
    wrong: int = 0
    most_in_flight: int = 0
    seconds: float = 0.0


async def serve(
    each: Each,
    expected: Sequence[Any],
    times: Iterator[float],
    drain: float = DRAIN_SECONDS,
    judge: Judge = unequal,
) -> Served:
    """Let items arrive at those times; every answer is judged."""
    served = Served()
    running: set[asyncio.Task[None]] = set()
    heart = Heartbeat()
    started = time.perf_counter()

    async def one(index: int, due: float) -> None:
        try:
            answer = await each.one(each.items[index])
        except Exception:  # whatever a contender raises: counted, not raised
            served.failed += 1
            return
        took = time.perf_counter() - due
        if judge(answer, expected[index]) is None:
            served.latencies.append(took)
        else:
            served.wrong += 1

    indices = itertools.cycle(range(len(each.items)))
    now = 0.0
    for at in times:
        if at > now:
            # Also without a wait the loop gets its turn, or an overloaded contender would never run.
            await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
            now = time.perf_counter() - started
        task = asyncio.create_task(one(next(indices), started + at))
        running.add(task)
        task.add_done_callback(running.discard)
        served.offered += 1
        served.most_in_flight = max(served.most_in_flight, len(running))
    if running:
        await asyncio.wait(running, timeout=drain)
    served.seconds = time.perf_counter() - started
    served.unfinished = len(running)
    served.stalls = heart.stop()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return served


def measure(
    case: Case,
    rates: Sequence[float],
    *,
    seconds: float,
    arrivals: Arrivals,
    seed: int,
    say: Callable[[str], None],
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Every contender at every rate, in random order; `keep` gets each row of results.json when it is known."""
    order = random.Random(seed)
    with ExitStack() as stack:
        ready: list[tuple[Contender, OnLoop]] = []
        for contender in case.contenders:
            try:
                running = stack.enter_context(contender.open(case.work))
                if not isinstance(running, OnLoop) or running.each is None:
                    raise Missing("takes its items together, not as they arrive")
                done = running.round(False)  # what is made once a process or a loop is made now
            except Missing as gap:
                keep(_row(case, contender, None, None, arrivals, "missing", str(gap)))
            except Exception as error:
                keep(_row(case, contender, None, None, arrivals, "failed", f"{type(error).__name__}: {error}"))
            else:
                problem = case.wrong(contender, done)
                if problem is None:
                    ready.append((contender, running))
                else:
                    keep(_row(case, contender, None, None, arrivals, "wrong", problem))
        for rate in rates:
            order.shuffle(ready)
            for contender, running in ready:
                say(f"open loop, {case.name}, {rate:g}/s: {contender.name}")
                assert running.each is not None  # else it is not ready
                times = schedule(rate, seconds, arrivals, seed)
                served = running.run(serve(running.each, case.expected_of(contender), times, judge=case.judge))
                status = "wrong" if served.wrong else "failed" if served.failed else "ok"
                keep(_row(case, contender, rate, served, arrivals, status, ""))


def _row(
    case: Case, contender: Contender, rate: float | None, served: Served | None, arrivals: str, status: str, detail: str
) -> dict[str, Any]:
    counted = served is not None and status != "wrong"  # a wrong answer is never fast
    return {
        "task": case.task,
        "case": case.name,
        "contender": contender.name,
        "variant": contender.variant,
        "arrivals": arrivals,
        "rate": rate,
        "status": status,
        "detail": detail,
        "offered": served.offered if served else 0,
        "finished_per_second": len(served.latencies) / served.seconds if served and counted else None,
        "latency": latency_dict(served.latencies) if served and counted else None,
        "stall": stall_dict(served.stalls) if served and counted else None,
        "unfinished": served.unfinished if served else 0,
        "failed": served.failed if served else 0,
        "wrong": served.wrong if served else 0,
        "most_in_flight": served.most_in_flight if served else 0,
    }
