"""What the watchers have written, as figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one phase. Times are bounds: the histograms of offloop.stats() have a bucket for each power of two."""

    count: int = 0
    total_ms: float = 0.0  # by the middles of the buckets
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Blocked:
    """All stalls of the loops by one call."""

    call: str
    file: str
    line: int
    count: int
    longest_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Of all processes of the command that imported offloop."""

    seconds: float = 0.0
    processes: int = 0
    attached: bool = False  # of a process that ran already, instead
    cpus: int = 1
    loops: int = 0
    operations: int = 0
    inlined: int = 0
    bytes: int = 0
    quanta: int = 0
    lane_fill: float = 0.0
    threads: int = 0
    busy: float = 0.0  # share of the workers that were awake, while anything was in flight or on average
    queued: float = 0.0
    parked: float = 0.0
    queue: Latency = field(default_factory=Latency)
    run: Latency = field(default_factory=Latency)
    deliver: Latency = field(default_factory=Latency)
    blocked: tuple[Blocked, ...] = ()
    stall_threshold_ms: float = 20.0
    #: of the Python threads, seconds by folded stack, from inside: what the watcher saw
    samples: dict[str, float] = field(default_factory=dict)
    #: (seconds, threads, awake, queued, parked) of the process with most operations
    pool: tuple[tuple[float, int, int, int, int], ...] = ()

    @property
    def queue_share(self) -> float:
        """Of the time between submit and delivery."""
        return self._share(self.queue)

    @property
    def deliver_share(self) -> float:
        """Of the time between submit and delivery."""
        return self._share(self.deliver)

    def _share(self, phase: Latency) -> float:
        total = self.queue.total_ms + self.run.total_ms + self.deliver.total_ms
        return phase.total_ms / total if total else 0.0


def read(folder: Path) -> Profile:
    """What the watchers have left in the folder; one without processes where they left nothing."""
    documents = []
    for path in sorted(folder.glob("process-*.json")):
        documents.append(json.loads(path.read_text()))
    return figures_of(documents)


def figures_of(documents: Sequence[dict[str, Any]]) -> Profile:
    """All processes together."""
    if not documents:
        return Profile()
    differences = [_difference(document) for document in documents]
    most = max(range(len(documents)), key=lambda number: int(differences[number]["done"]))
    points = [point for document in documents for point in document["pool"]]
    at_work = [point for point in points if point[2] or point[3]]
    quanta = sum(one["quanta"] for one in differences)
    samples: Counter[str] = Counter()
    for document in documents:
        for stack, count in document["samples"].items():
            samples[stack] += count
    return Profile(
        seconds=max(document["seconds"] for document in documents),
        processes=len(documents),
        cpus=documents[0]["cpus"],
        loops=sum(document["loops"] for document in documents),
        operations=sum(one["done"] + one["failed"] + one["stopped"] for one in differences),
        inlined=sum(one["inlined"] for one in differences),
        bytes=sum(one["bytes"] for one in differences),
        quanta=quanta,
        lane_fill=sum(one["lanes"] for one in differences) / quanta if quanta else 0.0,
        threads=max(document["after"]["threads"] for document in documents),
        busy=_mean(point[2] / point[1] for point in at_work if point[1]),
        queued=_mean(point[3] for point in at_work),
        parked=_mean(point[4] for point in points if point[1]),
        queue=latency([one["queue_ns"] for one in differences]),
        run=latency([one["run_ns"] for one in differences]),
        deliver=latency([one["deliver_ns"] for one in differences]),
        blocked=tuple(_blocked(stall for document in documents for stall in document["stalls"])),
        stall_threshold_ms=documents[0]["stall_threshold_ms"],
        samples={stack: count / documents[0]["samples_a_second"] for stack, count in samples.items()},
        pool=tuple((point[0] / 1e9, *point[1:]) for point in documents[most]["pool"]),
    )


def latency(histograms: Sequence[Sequence[int]]) -> Latency:
    """Bucket i counts from 2**(i-1) to below 2**i nanoseconds."""
    histogram = [sum(column) for column in zip(*histograms, strict=True)]
    return Latency(
        count=sum(histogram),
        total_ms=sum(count * 0.75 * 2**bucket for bucket, count in enumerate(histogram)) / 1e6,
        p50_ms=_quantile(histogram, 0.5),
        p99_ms=_quantile(histogram, 0.99),
    )


def _quantile(histogram: Sequence[int], share: float) -> float:
    wanted = share * sum(histogram)
    for bucket, count in enumerate(histogram):
        wanted -= count
        if count and wanted <= 0:
            return float(2**bucket) / 1e6
    return 0.0


def _difference(document: dict[str, Any]) -> dict[str, Any]:
    before, after = document["before"], document["after"]
    counts = {name: after[name] - before[name] for name in ("done", "failed", "stopped", "inlined", "bytes", "quanta")}
    lanes = after["lane_fill"] * after["quanta"] - before["lane_fill"] * before["quanta"]
    histograms = {
        name: [late - early for late, early in zip(after[name], before[name], strict=True)]
        for name in ("queue_ns", "run_ns", "deliver_ns")
    }
    return {**counts, **histograms, "lanes": lanes}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _blocked(stalls: Iterable[dict[str, Any]]) -> list[Blocked]:
    """By call and place, the worst first."""
    places: dict[tuple[str, str, int], list[float]] = {}
    for stall in stalls:
        places.setdefault((stall["call"], stall["file"], stall["line"]), []).append(stall["ms"])
    found = [Blocked(*place, len(times), max(times), sum(times)) for place, times in places.items()]
    return sorted(found, key=lambda one: -one.total_ms)
