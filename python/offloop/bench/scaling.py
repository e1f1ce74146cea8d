"""Throughput by threads, 1 to N: offloop and a ThreadPoolExecutor, each number in a process of its own.

``python -m offloop.bench.scaling`` is that process: it measures what OFFLOOP_THREADS says and prints JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import offloop

SIZE = 1_000_000
COUNT = 32
_SECONDS = 120.0


def measure(*, repeats: int, seed: int, say: Callable[[str], None], most: int | None = None) -> list[dict[str, Any]]:
    """One row for every number of threads up to `most` (default: the CPUs that we may use).

    Raises RuntimeError, with its last words, when a process fails.
    """
    rows = []
    for threads in range(1, (most or len(os.sched_getaffinity(0))) + 1):
        say(f"scaling: {threads} threads")
        done = subprocess.run(
            [sys.executable, "-m", "offloop.bench.scaling", str(repeats), str(seed)],
            env={**os.environ, "OFFLOOP_THREADS": str(threads)},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no words"]
            raise RuntimeError(f"scaling, {threads} threads: exit code {done.returncode}, {last[0]}")
        rows.append(json.loads(done.stdout))
    return rows


async def _measure(repeats: int, seed: int, threads: int) -> dict[str, Any]:
    base = random.Random(seed).randbytes(SIZE)
    payloads = [index.to_bytes(8, "big") + base[8:] for index in range(COUNT)]
    expected = [_hash(payload) for payload in payloads]
    with ThreadPoolExecutor(threads) as pool:
        loop = asyncio.get_running_loop()

        def in_pool(payload: bytes) -> Awaitable[str]:
            return loop.run_in_executor(pool, _hash, payload)

        async def inline(payload: bytes) -> str:
            return _hash(payload)

        contenders: dict[str, Callable[[bytes], Awaitable[str]]] = {
            "offloop": offloop.sha256,
            "ThreadPoolExecutor": in_pool,
            "inline": inline,
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        shuffle = random.Random(seed).shuffle
        order = list(contenders)
        for number in range(repeats + 1):
            shuffle(order)
            for name in order:
                seconds = await _once(contenders[name], payloads, expected)
                if number > 0:
                    taken[name].append(seconds)
    total = COUNT * SIZE / 1e9
    return {
        "threads": threads,
        "gb_per_second": {name: total / statistics.median(seconds) for name, seconds in taken.items()},
    }


async def _once(work: Callable[[bytes], Awaitable[str]], payloads: Sequence[bytes], expected: Sequence[str]) -> float:
    started = time.perf_counter()
    answers = await asyncio.gather(*map(work, payloads))
    seconds = time.perf_counter() - started
    if list(answers) != expected:
        raise AssertionError("a digest is wrong")
    return seconds


def _hash(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


if __name__ == "__main__":
    repeats, seed = map(int, sys.argv[1:])
    print(json.dumps(asyncio.run(_measure(repeats, seed, int(os.environ["OFFLOOP_THREADS"])))))
