"""Payloads of 1 byte to 1 MB, log-uniform, in a TaskGroup of one task each, against hashlib inline in such tasks."""

from __future__ import annotations

import hashlib
import math
import random

import harness
from harness import Loop, Report

import offloop

COUNT = 5000
LARGEST = 1_000_000
SEED = 20_240_501
TARGET = 3.0


def hash_here(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


async def inline(payload: bytes) -> str:
    return hash_here(payload)


def mixed(count: int) -> list[bytes]:
    source = random.Random(SEED)
    sizes = [round(math.exp(source.uniform(0, math.log(LARGEST)))) for _ in range(count)]
    return [source.randbytes(size) for size in sizes]


def main() -> None:
    given = harness.arguments(__doc__, repeats=11)
    report = Report("mixed_sizes", given)
    payloads = mixed(COUNT // 10 if given.quick else COUNT)
    expected = [hash_here(payload) for payload in payloads]
    total = sum(map(len, payloads))
    for kind in harness.loop_kinds():
        with Loop(kind) as loop:
            row = harness.measure(
                f"{kind}: {len(payloads)} payloads of 1 B to 1 MB, log-uniform, {total / 1e6:.0f} MB in all",
                "s",
                {
                    "hashlib inline": loop.contender(lambda: harness.one_task_each(inline, payloads, expected)),
                    "offloop.sha256": loop.contender(lambda: harness.one_task_each(offloop.sha256, payloads, expected)),
                },
                given.repeats,
            )
        if kind == "asyncio":
            row.demand("hashlib inline / offloop", row.ratio("hashlib inline", "offloop.sha256"), TARGET)
        else:
            row.compare("hashlib inline", "offloop.sha256")
        report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
