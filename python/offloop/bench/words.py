"""Figures in words, with their units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from offloop.bench.document import ContenderDict, IntervalDict

_SECONDS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_BYTES = (("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("B", 1.0))


def _scaled(value: float, units: tuple[tuple[str, float], ...]) -> str:
    name, scale = next(((n, s) for n, s in units if abs(value) >= s), units[-1])
    return f"{value / scale:.3g} {name}" if abs(value / scale) < 1000 else f"{value / scale:.0f} {name}"


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it; "-" for None."""
    return "-" if value is None else "0 s" if value == 0 else _scaled(value, _SECONDS)


def size(value: float | None) -> str:
    """Bytes in the unit that suits them; "-" for None."""
    return "-" if value is None else _scaled(value, _BYTES)


def rate(value: float | None) -> str:
    """Items a second."""
    if value is None:
        return "-"
    return f"{value / 1000:.1f}k/s" if value >= 10_000 else f"{value:.0f}/s" if value >= 100 else f"{value:.3g}/s"


def gb_per_second(value: float | None) -> str:
    """GB/s with three digits."""
    return "-" if value is None else f"{value:.3g}"


def times(ratio: IntervalDict) -> str:
    """A ratio with its interval: 2.13x (2.02 - 2.20)."""
    return f"{ratio['median']:.2f}x ({ratio['low']:.2f} - {ratio['high']:.2f})"


def count(number: int, what: str) -> str:
    """A number of things: 1 case, 2 cases."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def noise(told: dict[str, Any]) -> str:
    """What others did before and after, as far as it is known; of results of schema 1, the load."""
    if "load_before" in told:
        return f"load before {told['load_before']:.2f}, after {told['load_after']:.2f}"
    looks = [(told["busy_before"], "before"), (told["busy_after"], "after")]
    said = ", ".join(f"{busy:.2f} {when}" for busy, when in looks if busy is not None)
    return f"CPUs that others kept busy: {said or 'not known'}"


def by_case(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Open-loop rows by task and case, in order of appearance."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["task"], row["case"]), []).append(row)
    return found


def figures(row: ContenderDict) -> list[str]:
    """What a contender that has a time took, in the order of both reports' columns from "burst" to "memory"."""
    time, latency, stall = row["time"], row["latency"], row["stall"]
    assert time is not None
    return [
        seconds(time["median"]),
        f"{seconds(time['low'])} - {seconds(time['high'])}",
        rate(row["items_per_second"]),
        gb_per_second(row["gb_per_second"]),
        *(seconds(latency[name] if latency else None) for name in ("p50", "p99", "p999")),
        seconds(stall["longest"] if stall else None),
        seconds(stall["p99"] if stall else None),
        seconds(row["cpu_seconds_per_item"]),
        size(row["peak_bytes"]),
    ]


#: of the open loop, in all reports
OPEN_LOOP_COLUMNS = ("offered", "finished", "p50", "p99", "p99.9", "stall max", "unfinished", "failed", "wrong")


def open_loop_figures(row: dict[str, Any]) -> list[str]:
    """An open-loop row that was run, in the order of `OPEN_LOOP_COLUMNS`."""
    latency, stall = row["latency"], row["stall"]
    return [
        rate(row["rate"]),
        rate(row["finished_per_second"]),
        *(seconds(latency[name] if latency else None) for name in ("p50", "p99", "p999")),
        seconds(stall["longest"] if stall else None),
        *(str(row[name]) for name in ("unfinished", "failed", "wrong")),
    ]
