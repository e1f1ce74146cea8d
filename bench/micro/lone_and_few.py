"""One lone large payload, two to eight at once, and a small one beside many large ones."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import Loop, Report, Spread

import offloop

LARGE = 10_000_000
SMALL = 100_000
LARGE_COMPANY = 30

TARGET_LONE = 1.03  # within 3 % of hashlib
TARGET_FEW = 1.0
TARGET_SMALL_SECONDS = 1e-3


def hash_here(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def inline(payload: bytes, expected: str) -> float:
    started = time.perf_counter()
    answer = hash_here(payload)
    seconds = time.perf_counter() - started
    harness.agree([answer], [expected])
    return seconds


async def one(payload: bytes, expected: str) -> float:
    started = time.perf_counter()
    answer = await offloop.sha256(payload)
    seconds = time.perf_counter() - started
    harness.agree([answer], [expected])
    return seconds


def in_threads(pool: ThreadPoolExecutor, payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    started = time.perf_counter()
    answers = list(pool.map(hash_here, payloads))
    seconds = time.perf_counter() - started
    harness.agree(answers, expected)
    return seconds


async def together(payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    started = time.perf_counter()
    answers = await asyncio.gather(*map(offloop.sha256, payloads))
    seconds = time.perf_counter() - started
    harness.agree(answers, expected)
    return seconds


async def beside(small: bytes, small_expected: str, large: Sequence[bytes], expected: Sequence[str]) -> float:
    """Seconds until the small one is there, when the large ones run already."""
    company = [offloop.sha256(payload) for payload in large]
    await asyncio.sleep(0.005)  # the workers have taken them
    started = time.perf_counter()
    answer = await offloop.sha256(small)
    seconds = time.perf_counter() - started
    harness.agree([answer], [small_expected])
    harness.agree(await asyncio.gather(*company), expected)
    return seconds


def main() -> None:
    given = harness.arguments(__doc__, repeats=15)
    report = Report("lone_and_few", given)
    large = harness.payloads(LARGE_COMPANY, LARGE)
    expected = [hash_here(payload) for payload in large]
    small = harness.payloads(1, SMALL, seed=2)[0]
    small_expected = hash_here(small)
    workers = int(offloop.configure()["threads"])

    with Loop() as loop, ThreadPoolExecutor(workers) as pool:
        row = harness.measure(
            "one lone 10 MB",
            "s",
            {
                "hashlib": lambda: inline(large[0], expected[0]),
                "offloop.sha256": loop.contender(lambda: one(large[0], expected[0])),
            },
            given.repeats,
        )
        row.demand("offloop / hashlib", row.ratio("offloop.sha256", "hashlib"), TARGET_LONE, at_least=False)
        report.add(row)

        for count in (2, 3, 4, 5, 6, 7, 8):
            few, right = large[:count], expected[:count]
            row = harness.measure(
                f"{count} x 10 MB at once",
                "s",
                {
                    f"hashlib in {workers} threads": lambda few=few, right=right: in_threads(pool, few, right),  # type: ignore[misc]
                    "offloop.sha256": loop.contender(lambda few=few, right=right: together(few, right)),  # type: ignore[misc]
                },
                given.repeats,
            )
            ratio = row.ratio(f"hashlib in {workers} threads", "offloop.sha256")
            row.demand("hashlib in threads / offloop", ratio, TARGET_FEW)
            report.add(row)

        row = harness.measure(
            f"100 KB beside {LARGE_COMPANY} x 10 MB that run already",
            "s",
            {
                "100 KB beside": loop.contender(lambda: beside(small, small_expected, large, expected)),
                "100 KB alone": loop.contender(lambda: one(small, small_expected)),
            },
            given.repeats,
        )
        row.demand(
            "100 KB beside", Spread.of(row.rounds["100 KB beside"]), TARGET_SMALL_SECONDS, at_least=False, unit="s"
        )
        report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
