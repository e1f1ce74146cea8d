"""Latency of resizes through `await` at 80 % load, arrivals by Poisson, beside what an ideal queue would give.

The ideal is simulated: one server a core, first come first served, the same arrivals, each picture's service time as it
was measured with all cores busy and nobody waiting. What is above it is the price of the runtime, the event loop, and
of the machine's own hiccups: the same arrivals are therefore also run with a sleep that ends on time in place of the
work, and the p99 of its delay is told.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

import harness
import pictures
from harness import Loop, Report, Row, Spread

from offloop import image

CORES = len(os.sched_getaffinity(0))
LOAD = 0.8
ARRIVALS = 3000
SIDE = 256
TARGET = 1.2


async def service_times(pipeline: image.Pipeline, data: Sequence[bytes]) -> list[float]:
    """Seconds of each input with all cores busy: the median of what it took in closed loops, one a core."""
    taken: list[list[float]] = [[] for _ in data]

    async def loop(offset: int) -> None:
        for turn in range(6 * len(data)):
            index = (turn + offset) % len(data)
            started = time.perf_counter()
            await pipeline.run(data[index])
            taken[index].append(time.perf_counter() - started)

    await asyncio.gather(*(loop(core * len(data) // CORES) for core in range(CORES)))
    return [statistics.median(times) for times in taken]


def ideal_latencies(arrivals: Sequence[float], service: Sequence[float]) -> list[float]:
    free = [0.0] * CORES
    latencies = []
    for at, needs in zip(arrivals, service, strict=True):
        done = max(at, heapq.heappop(free)) + needs
        heapq.heappush(free, done)
        latencies.append(done - at)
    return latencies


async def measured_latencies(arrivals: Sequence[float], work: Callable[[int], Awaitable[object]]) -> list[float]:
    latencies = [0.0] * len(arrivals)
    begin = time.perf_counter() + 0.05

    async def one(index: int) -> None:
        await work(index)
        # From when it was to arrive, not from when the loop got round to it.
        latencies[index] = time.perf_counter() - begin - arrivals[index]

    async with asyncio.TaskGroup() as group:
        for index, at in enumerate(arrivals):
            delay = begin + at - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            group.create_task(one(index))
    return latencies


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def main() -> None:
    given = harness.arguments(__doc__, repeats=5)
    report = Report("image_latency", given)
    data = pictures.small_jpegs(8 if given.quick else 32)
    pipeline = image.Pipeline().resize(SIDE).to("jpeg", quality=80)
    count = ARRIVALS // 10 if given.quick else ARRIVALS
    rounds: dict[str, list[float]] = {"p99 of offloop": [], "p99 of the ideal queue": [], "p99 of a sleep's delay": []}
    with Loop() as loop:
        run = loop._runner.run
        for number in range(given.repeats):
            service = run(service_times(pipeline, data))
            source = random.Random(number)
            order = [source.randrange(len(data)) for _ in range(count)]
            rate = LOAD * CORES / statistics.mean(service)
            arrivals, now = [], 0.0
            for _ in range(count):
                now += source.expovariate(rate)
                arrivals.append(now)
            measured = run(measured_latencies(arrivals, lambda index, order=order: pipeline.run(data[order[index]])))
            hiccups = run(measured_latencies(arrivals, lambda index: asyncio.sleep(0)))
            rounds["p99 of offloop"].append(p99(measured))
            rounds["p99 of the ideal queue"].append(p99(ideal_latencies(arrivals, [service[i] for i in order])))
            rounds["p99 of a sleep's delay"].append(p99(hiccups))
            mean = statistics.mean(service)
    row = Row(
        f"JPEG of 107 kB to {SIDE} px at {LOAD:.0%} load, {count} arrivals", "s",
        {name: Spread.of(values) for name, values in rounds.items()}, rounds=rounds,
    )  # fmt: skip
    row.demand(
        "p99 of offloop / p99 of the ideal queue", row.ratio("p99 of offloop", "p99 of the ideal queue"), TARGET,
        at_least=False,
    )  # fmt: skip
    row.notes.append(f"a picture takes {harness.number(mean, 's')} with all cores busy")
    report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
