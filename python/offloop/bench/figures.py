"""From rounds to figures: medians with intervals, rates, quantiles, speed-ups, averages."""

from __future__ import annotations

import statistics as st
from collections.abc import Sequence
from typing import TYPE_CHECKING

from offloop.bench.document import (
    AverageDict,
    CaseDict,
    ContenderDict,
    IntervalDict,
    LatencyDict,
    SpeedupDict,
    StallDict,
)
from offloop.bench.model import Case
from offloop.bench.statistics import Interval, bootstrap, mean_of_intervals, paired_ratio, quantile

if TYPE_CHECKING:
    from offloop.bench.runner import Measured

# The kinds of speed-up.
CLASSIC = "hybrid / asyncio, as people write them first"
BEST = "hybrid / asyncio, the best contender of each"
NATIVE = "hybrid / native, the best contender of each"
KINDS = (CLASSIC, BEST, NATIVE)

_HISTOGRAM_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


def case_document(case: Case, measured: Sequence[Measured], *, complete: bool, seed: int) -> CaseDict:
    """A case as results.json has it."""
    rows = [_row(case, one, seed) for one in measured]
    return CaseDict(
        task=case.task,
        name=case.name,
        items=case.items,
        total_bytes=case.total_bytes,
        bursts=case.bursts,
        average=case.average,
        complete=complete,
        contenders=rows,
        speedups=speedups(rows, seed),
    )


def _row(case: Case, one: Measured, seed: int) -> ContenderDict:
    time = bootstrap(one.seconds, seed=seed) if one.status == "ok" else None
    rate = None if time is None else case.items / time.median
    return ContenderDict(
        name=one.contender.name,
        variant=one.contender.variant,
        settings=one.contender.settings,
        classic=one.contender.classic,
        status=one.status,
        detail=one.detail or ("interrupted before its first timed round" if one.status == "unmeasured" else ""),
        seconds=list(one.seconds),
        time=None if time is None else interval_dict(time),
        items_per_second=rate,
        gb_per_second=None if rate is None or not case.total_bytes else case.total_bytes / case.items * rate / 1e9,
        latency=latency_dict(one.latencies),
        stall=stall_dict(one.stalls),
        cpu_seconds_per_item=st.median(one.cpu) / case.items if one.cpu else None,
        peak_bytes=max(one.peaks) if one.peaks else None,
    )


def speedups(rows: Sequence[ContenderDict], seed: int) -> list[SpeedupDict]:
    """Those kinds for which both sides were measured. Above 1 the hybrid is the faster one."""
    pairs = [
        (CLASSIC, _classic(rows, "hybrid"), _classic(rows, "asyncio")),
        (BEST, _best(rows, "hybrid"), _best(rows, "asyncio")),
        (NATIVE, _best(rows, "hybrid"), _best(rows, "native")),
    ]
    found = []
    for kind, hybrid, other in pairs:
        if hybrid is None or other is None:
            continue
        both = min(len(hybrid["seconds"]), len(other["seconds"]))  # after an interrupt one has a round more
        ours, theirs = hybrid["seconds"][:both], other["seconds"][:both]
        found.append(
            SpeedupDict(
                kind=kind,
                fast=hybrid["name"],
                slow=other["name"],
                ratio=interval_dict(paired_ratio(theirs, ours, seed=seed)),
                rounds=[slow / fast for slow, fast in zip(theirs, ours, strict=True)],
            )
        )
    return found


def _of(rows: Sequence[ContenderDict], variant: str) -> list[ContenderDict]:
    return [row for row in rows if row["variant"] == variant and row["status"] == "ok" and row["time"] is not None]


def _classic(rows: Sequence[ContenderDict], variant: str) -> ContenderDict | None:
    return next((row for row in _of(rows, variant) if row["classic"]), None)


def _best(rows: Sequence[ContenderDict], variant: str) -> ContenderDict | None:
    return min(_of(rows, variant), key=lambda row: st.median(row["seconds"]), default=None)


def averages(cases: Sequence[CaseDict], seed: int) -> list[AverageDict]:
    """Of each task and kind, over the cases that count into the average."""
    found = []
    for task in dict.fromkeys(case["task"] for case in cases):
        for kind in KINDS:
            rounds = [
                speedup["rounds"]
                for case in cases
                if case["task"] == task and case["average"]
                for speedup in case["speedups"]
                if speedup["kind"] == kind
            ]
            if rounds:
                found.append(
                    AverageDict(
                        task=task,
                        kind=kind,
                        cases=len(rounds),
                        geometric=interval_dict(mean_of_intervals(rounds, seed=seed)),
                        arithmetic=st.fmean(st.median(ratios) for ratios in rounds),
                    )
                )
    return found


def latency_dict(latencies: Sequence[float]) -> LatencyDict | None:
    """Quantiles of item latencies; None without any."""
    if not latencies:
        return None
    return LatencyDict(
        p50=quantile(latencies, 0.5),
        p99=quantile(latencies, 0.99),
        p999=quantile(latencies, 0.999),
        items=len(latencies),
        histogram=[(share, quantile(latencies, share)) for share in _HISTOGRAM_SHARES],
    )


def stall_dict(stalls: Sequence[float]) -> StallDict | None:
    """The longest and the 99th percentile of how late the loop was; None where there is no loop."""
    if not stalls:
        return None
    return StallDict(longest=max(stalls), p99=quantile(stalls, 0.99), looks=len(stalls))


def interval_dict(interval: Interval) -> IntervalDict:
    """As results.json has it."""
    return IntervalDict(median=interval.median, low=interval.low, high=interval.high)
