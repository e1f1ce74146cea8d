"""results.json: its types, how it is written so that a reader never sees half of it, and how it is read.

docs/bench-results.md describes every field, `results.schema.json` beside this file says it to machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypedDict, cast

SCHEMA_VERSION = 2
# Version 1 told the load average instead of the CPUs that others kept busy, and stolen time as a share of all time.
READABLE = (1, 2)
RESULTS = "results.json"
SCHEMA = Path(__file__).with_name("results.schema.json")


class IntervalDict(TypedDict):
    """A median with its bootstrap interval."""

    median: float
    low: float
    high: float


class LatencyDict(TypedDict):
    """Quantiles of what an item took, in seconds, and of how many items."""

    p50: float
    p99: float
    p999: float
    items: int
    histogram: list[tuple[float, float]]  # (share of the items, seconds), for the plot


class StallDict(TypedDict):
    """How late the loop was, in seconds, and how often it was looked at."""

    longest: float
    p99: float
    looks: int


class ContenderDict(TypedDict):
    """One row of a case."""

    name: str
    variant: str
    settings: str
    classic: bool
    status: str
    detail: str
    seconds: list[float]
    time: IntervalDict | None
    items_per_second: float | None
    gb_per_second: float | None
    latency: LatencyDict | None
    stall: StallDict | None
    cpu_seconds_per_item: float | None
    peak_bytes: int | None


class SpeedupDict(TypedDict):
    """How many times `slow` takes what `fast` takes; `rounds` are the ratios that the interval is made of."""

    kind: str
    fast: str
    slow: str
    ratio: IntervalDict
    rounds: list[float]


class CaseDict(TypedDict):
    """One size of a task."""

    task: str
    name: str
    items: int
    total_bytes: int
    bursts: int
    average: bool
    complete: bool
    contenders: list[ContenderDict]
    speedups: list[SpeedupDict]


class AverageDict(TypedDict):
    """The mean of a kind of speed-up over the cases of a task."""

    task: str
    kind: str
    cases: int
    geometric: IntervalDict
    arithmetic: float


class Document(TypedDict):
    """The whole file."""

    schema: int
    offloop: str
    started: str
    seconds: float
    complete: bool
    interrupted: bool
    form: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    noise: dict[str, Any]
    cases: list[CaseDict]
    averages: list[AverageDict]
    open_loop: list[dict[str, Any]]
    scaling: list[dict[str, Any]]
    sentences: list[str]


def write(document: Document, folder: Path) -> Path:
    """Write results.json into `folder`: whole, or not at all. Raises OSError."""
    return write_text(folder / RESULTS, json.dumps(rounded(document), indent=1) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a file that is there whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, part = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        Path(part).chmod(0o644)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    return path


def read(path: Path) -> Document:
    """Read a results.json, or the one in a folder. Raises OSError, or ValueError when it is none that we know."""
    file = path / RESULTS if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file}: expected JSON, got {error}") from None
    if not isinstance(found, dict) or found.get("schema") not in READABLE:
        seen = found.get("schema") if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{file}: expected results of schema {' or '.join(map(str, READABLE))}, got {seen}")
    return cast(Document, found)


def rounded(value: Any) -> Any:
    """Six significant digits: more would pretend."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    return value
