"""What the Python benchmarks share: interleaved measurements, the machine they ran on, targets, tables and JSON.

A benchmark prints each target beside what it measured and ends with exit code 0 whatever came out: it informs, tests
decide.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import offloop
from offloop.bench.machine import Noise, cpu, machine

# The targets of the hash table were set on Sapphire Rapids, where two cores of the x16 kernel do 4.8 times what one
# core of hashlib does (4.2 against 1.75 GB/s a core). See `kernel_ceiling`.
SAPPHIRE_RAPIDS_CEILING = 4.8

Contender = Callable[[], float]


class Arguments(argparse.Namespace):
    """The command line of every benchmark."""

    quick: bool
    json: Path | None
    repeats: int


def arguments(description: str | None, *, repeats: int = 7) -> Arguments:
    """Parse the command line: --quick, --json FILE, --repeats N."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="little work, 2 rounds: does it run, are the answers right"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--repeats", type=int, default=repeats, metavar="N", help="rounds (default %(default)s)")
    parsed = parser.parse_args(namespace=Arguments())
    if parsed.quick:
        parsed.repeats = min(parsed.repeats, 2)
    if parsed.repeats < 1:
        parser.error(f"--repeats must be greater than 0, got {parsed.repeats}")
    return parsed


@dataclass(frozen=True)
class Spread:
    """Median and extremes of the rounds, in the unit of the row."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Check:
    """One measured figure beside the target that it must reach. `verdict` is PASS or MISS."""

    what: str
    value: Spread
    target: float
    at_least: bool
    unit: str
    source: str
    verdict: str


@dataclass
class Row:
    """One case: what each contender took, and what was demanded."""

    case: str
    unit: str
    values: dict[str, Spread] = field(default_factory=dict)
    ratios: dict[str, Spread] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rounds: dict[str, list[float]] = field(default_factory=dict, repr=False)

    def ratio(self, slow: str, fast: str) -> Spread:
        """How many times `slow` takes what `fast` takes: of each round, so that a drift of the machine cancels out."""
        return Spread.of([s / f for s, f in zip(self.rounds[slow], self.rounds[fast], strict=True)])

    def fastest(self, prefix: str) -> str:
        """The contender with the lowest median among those whose names start so."""
        names = [name for name in self.values if name.startswith(prefix)]
        return min(names, key=lambda name: self.values[name].median)

    def compare(self, slow: str, fast: str, label: str | None = None) -> None:
        """Report a ratio that has no target."""
        self.ratios[label or f"{slow} / {fast}"] = self.ratio(slow, fast)

    def demand(
        self, what: str, value: Spread, target: float, *, at_least: bool = True, unit: str = "x", source: str = ""
    ) -> None:
        """Set the median beside its target. `source` says where a target that is not the project's own comes from."""
        reached = value.median >= target if at_least else value.median <= target
        self.checks.append(Check(what, value, target, at_least, unit, source, "PASS" if reached else "MISS"))


def interleaved(contenders: Mapping[str, Contender], repeats: int, *, seed: int = 1) -> dict[str, list[float]]:
    """Run every contender once a round, in an order shuffled anew each round, after one round that does not count.

    A contender returns its own figure (seconds, as a rule) and checks its answers itself, outside of what it times.
    """
    order = list(contenders)
    shuffle = random.Random(seed).shuffle
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(repeats + 1):
        shuffle(order)
        for name in order:
            gc.collect()
            value = contenders[name]()
            if number > 0:
                taken[name].append(value)
    return taken


def measure(case: str, unit: str, contenders: Mapping[str, Contender], repeats: int) -> Row:
    """Interleave the contenders and keep medians and extremes."""
    rounds = interleaved(contenders, repeats)
    return Row(case, unit, {name: Spread.of(taken) for name, taken in rounds.items()}, rounds=rounds)


class Loop:
    """An event loop that stays open over the contenders which share it. `kind` is "asyncio" or "uvloop"."""

    def __init__(self, kind: str = "asyncio") -> None:
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
        if kind == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        self._runner = asyncio.Runner(loop_factory=factory)

    def run(self, main: Coroutine[Any, Any, float]) -> float:
        return self._runner.run(main)

    def contender(self, make: Callable[[], Coroutine[Any, Any, float]]) -> Contender:
        return lambda: self._runner.run(make())

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *exception: object) -> None:
        self._runner.close()


def loop_kinds() -> list[str]:
    """asyncio, and uvloop where it is installed."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return ["asyncio"]
    return ["asyncio", "uvloop"]


Work = Callable[[bytes], Awaitable[str]]


async def one_task_each(work: Work, payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    """Seconds for a TaskGroup of one task a payload, each awaiting `work`; every answer is compared afterwards."""

    async def one(payload: bytes) -> str:
        return await work(payload)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(payload)) for payload in payloads]
    answers = [task.result() for task in tasks]
    seconds = time.perf_counter() - started
    agree(answers, expected)
    return seconds


def agree(answers: Sequence[str], expected: Sequence[str]) -> None:
    """Raise AssertionError unless every digest is the expected one."""
    if len(answers) != len(expected):
        raise AssertionError(f"expected {len(expected)} digests, got {len(answers)}")
    for index, (answer, right) in enumerate(zip(answers, expected, strict=True)):
        if answer != right:
            raise AssertionError(f"digest {index} is {answer}, expected {right}")


def payloads(count: int, size: int, *, seed: int = 1) -> list[bytes]:
    """`count` different payloads of `size` bytes in memory of their own."""
    base = random.Random(seed).randbytes(size)
    head = min(8, size)
    return [index.to_bytes(8, "big")[-head:] + base[head:] for index in range(count)]


# Measured in a process of its own: one worker, streams that all lanes share, against hashlib on the same bytes in turn.
_CEILING_PROGRAM = """
import hashlib, json, os, time, offloop
base = os.urandom(1 << 20)
data = [i.to_bytes(8, "big") + base[8:] for i in range(64)]
best = [1e9, 1e9]
for _ in range(5):
    t0 = time.perf_counter()
    a = [hashlib.sha256(d).hexdigest() for d in data]
    t1 = time.perf_counter()
    b = offloop.batch_hash(data, 1)
    t2 = time.perf_counter()
    assert a == b
    best = [min(best[0], t1 - t0), min(best[1], t2 - t1)]
size = len(data) * len(base) / 1e9
print(json.dumps({"hashlib_gb_s": size / best[0], "kernel_gb_s": size / best[1]}))
"""


@dataclass(frozen=True)
class Ceiling:
    """What the kernels can give at most: `ratio` is all workers' best kernel over one core of hashlib."""

    hashlib_gb_s: float
    kernel_gb_s: float
    workers: int
    ratio: float

    def bar(self, target: float) -> float:
        """A target of Sapphire Rapids as the same share of this CPU's ceiling."""
        return target * self.ratio / SAPPHIRE_RAPIDS_CEILING


def kernel_ceiling() -> Ceiling:
    """Measure one worker's widest kernel and hashlib, best of five, in a process with OFFLOOP_THREADS=1."""
    environment = dict(os.environ, OFFLOOP_THREADS="1")
    output = subprocess.run(
        [sys.executable, "-c", _CEILING_PROGRAM], env=environment, check=True, capture_output=True, text=True
    ).stdout
    rates = json.loads(output)
    workers = int(offloop.configure()["threads"])
    ratio = workers * rates["kernel_gb_s"] / rates["hashlib_gb_s"]
    return Ceiling(rates["hashlib_gb_s"], rates["kernel_gb_s"], workers, ratio)


def is_sapphire_rapids() -> bool:
    """Whether the targets that were set on Sapphire Rapids apply as they are."""
    return cpu()["model"] == "GenuineIntel 6/143"


class Report:
    """Collects rows, prints each as it comes, and writes all of them as JSON at the end."""

    def __init__(self, name: str, given: Arguments) -> None:
        self.name = name
        self._given = given
        self._rows: list[Row] = []
        self._machine = machine()
        self._noise = Noise()
        self._noise.begin()
        self.facts: dict[str, Any] = {}
        about, busy = self._machine, self._noise.busy_before
        print(
            f"{name}: {about['python']}, {about['cpu']['name']} ({about['cpu']['model']}), {about['cores']} cores, "
            f"{about['threads']} workers, widest kernel {about['widest_kernel']}, {busy:.2f} CPUs busy"
        )
        for warning in self._noise.document()["warnings"]:
            print(f"  {warning}: take no figure below as final")

    def add(self, row: Row) -> None:
        """Print the row and keep it."""
        self._rows.append(row)
        print(f"\n{row.case}")
        width = max(map(len, row.values), default=0)
        for name, spread in row.values.items():
            print(f"  {name:{width}}  {shown(spread, row.unit)}")
        for name, spread in row.ratios.items():
            print(f"  {name}: {shown(spread, 'x')}")
        for note in row.notes:
            print(f"  {note}")
        for check in row.checks:
            sign = ">=" if check.at_least else "<="
            print(
                f"  {check.verdict} {check.what}: {shown(check.value, check.unit)}, "
                f"target {sign} {number(check.target, check.unit)}{f' ({check.source})' if check.source else ''}"
            )
        sys.stdout.flush()

    def finish(self) -> None:
        """Write the JSON, if it was asked for, and say how many targets were missed."""
        missed = [check for row in self._rows for check in row.checks if check.verdict == "MISS"]
        total = sum(len(row.checks) for row in self._rows)
        self._noise.end()
        noise = self._noise.document()
        after = noise["busy_after"]
        print(f"\n{self.name}: {total - len(missed)} of {total} targets reached, {after:.2f} CPUs busy after")
        if self._given.json is None:
            return
        rows = [asdict(row) for row in self._rows]
        for row in rows:
            del row["rounds"]
        document = {
            "benchmark": self.name,
            "quick": self._given.quick,
            "repeats": self._given.repeats,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "busy_before": noise["busy_before"],
            "busy_after": noise["busy_after"],
            "steal_share": noise["steal_share"],
            "machine": self._machine,
            "facts": self.facts,
            "rows": rows,
        }
        self._given.json.parent.mkdir(parents=True, exist_ok=True)
        self._given.json.write_text(json.dumps(_rounded(document), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Five significant digits: more would pretend, and make every stored result differ in every line."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return value


_SECONDS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


def number(value: float, unit: str) -> str:
    """A figure with its unit: seconds in the unit that suits them, ratios as 2.13x, the rest with three digits."""
    if unit == "x":
        return f"{value:.2f}x"
    if unit == "s":
        name, scale = next(((n, s) for n, s in _SECONDS if abs(value) >= s), _SECONDS[-1])
        return f"{value / scale:.3g} {name}"
    if unit == "/s":
        return f"{value / 1000:.2f}k/s" if value >= 1000 else f"{value:.1f}/s"
    return f"{value:.3g} {unit}"


def shown(spread: Spread, unit: str) -> str:
    """Median and, in parentheses, the lowest and the highest round."""
    return f"{number(spread.median, unit)} ({number(spread.low, unit)} - {number(spread.high, unit)})"
