"""sha256_many and batch_hash of 20,000 payloads of 1 KB against a loop over hashlib."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import harness
from harness import Loop, Report

import offloop

COUNT = 20_000
SIZE = 1000
TARGET = 3.0


def hashlib_loop(payloads: Sequence[bytes]) -> list[str]:
    return [hashlib.sha256(payload).hexdigest() for payload in payloads]


def timed(work: Callable[[Sequence[bytes]], list[str]], payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    started = time.perf_counter()
    answers = work(payloads)
    seconds = time.perf_counter() - started
    harness.agree(answers, expected)
    return seconds


async def many(payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    started = time.perf_counter()
    answers = await offloop.sha256_many(payloads)
    seconds = time.perf_counter() - started
    harness.agree(answers, expected)
    return seconds


def main() -> None:
    given = harness.arguments(__doc__, repeats=15)
    report = Report("many_small", given)
    payloads = harness.payloads(COUNT // 10 if given.quick else COUNT, SIZE)
    expected = hashlib_loop(payloads)
    workers = int(offloop.configure()["threads"])
    with Loop() as loop:
        row = harness.measure(
            f"{len(payloads)} x 1 KB",
            "s",
            {
                "loop over hashlib": lambda: timed(hashlib_loop, payloads, expected),
                "sha256_many": lambda: loop.run(many(payloads, expected)),
                "batch_hash": lambda: timed(lambda data: offloop.batch_hash(data, workers), payloads, expected),
            },
            given.repeats,
        )
    row.demand("loop over hashlib / sha256_many", row.ratio("loop over hashlib", "sha256_many"), TARGET)
    row.demand("loop over hashlib / batch_hash", row.ratio("loop over hashlib", "batch_hash"), TARGET)
    rates = {name: len(payloads) / spread.median / 1000 for name, spread in row.values.items()}
    row.notes.append(", ".join(f"{name} {rate:.0f} k/s" for name, rate in rates.items()))
    report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
