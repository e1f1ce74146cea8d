"""SHA-256 in a TaskGroup of one task a payload: offloop.sha256 against hashlib inline in the same tasks, by size."""

from __future__ import annotations

import asyncio
import hashlib
import sys

import harness
from harness import Ceiling, Loop, Report

import offloop

KIB = 1000  # 10 KB are 10,000 bytes

# count, size, target on Sapphire Rapids, and whether the kernels set it (else the event loop's own cost does).
CASES: list[tuple[int, int, float, bool]] = [
    (5000, 1 * KIB, 1.0, False),
    (5000, 10 * KIB, 2.0, False),
    (1000, 100 * KIB, 3.5, True),
    (100, 1000 * KIB, 4.0, True),
    (100, 10_000 * KIB, 4.5, True),
]
# CPython 3.11 steps a task at twice the cost.
TARGET_10_KB_BEFORE_3_12 = 1.5
THREADS_FROM = 100 * KIB


def hash_here(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


async def inline(payload: bytes) -> str:
    return hash_here(payload)


async def in_thread(payload: bytes) -> str:
    return await asyncio.to_thread(hash_here, payload)


def case(report: Report, kind: str, index: int, ceiling: Ceiling, repeats: int, shrink: int) -> None:
    count, size, target, set_by_kernels = CASES[index]
    count = max(20, count // shrink)
    payloads = harness.payloads(count, size)
    expected = [hash_here(payload) for payload in payloads]
    works: dict[str, harness.Work] = {"hashlib inline": inline, "offloop.sha256": offloop.sha256}
    if size >= THREADS_FROM:
        works["hashlib in to_thread"] = in_thread
    with Loop(kind) as loop:
        contenders = {
            name: loop.contender(lambda work=work: harness.one_task_each(work, payloads, expected))  # type: ignore[misc]
            for name, work in works.items()
        }
        row = harness.measure(f"{kind}: {count} x {size // KIB} KB", "s", contenders, repeats)
    ratio = row.ratio("hashlib inline", "offloop.sha256")
    if sys.version_info < (3, 12) and size == 10 * KIB:
        target = TARGET_10_KB_BEFORE_3_12
    if kind != "asyncio":
        row.compare("hashlib inline", "offloop.sha256")
    elif not set_by_kernels or harness.is_sapphire_rapids():
        row.demand("hashlib inline / offloop", ratio, target)
    else:
        bar = ceiling.bar(target)
        row.demand(
            "hashlib inline / offloop",
            ratio,
            bar,
            source=f"{target:.1f}x on Sapphire Rapids, as the same share of this CPU's ceiling {ceiling.ratio:.2f}x",
        )
    if size >= THREADS_FROM:
        row.compare("hashlib in to_thread", "offloop.sha256")
    row.notes.append(
        f"offloop: {count / row.values['offloop.sha256'].median / 1000:.1f} k/s, "
        f"{count * size / row.values['offloop.sha256'].median / 1e9:.2f} GB/s"
    )
    report.add(row)


def main() -> None:
    given = harness.arguments(__doc__)
    report = Report("hash_table", given)
    ceiling = harness.kernel_ceiling()
    report.facts["kernel_ceiling"] = vars(ceiling)
    print(
        f"kernels: {ceiling.kernel_gb_s:.2f} GB/s a worker against hashlib's {ceiling.hashlib_gb_s:.2f}: "
        f"at most {ceiling.ratio:.2f}x with {ceiling.workers} workers"
    )
    for kind in harness.loop_kinds():
        for index in range(len(CASES)):
            case(report, kind, index, ceiling, given.repeats, 10 if given.quick else 1)
    report.finish()


if __name__ == "__main__":
    main()
