"""Every kernel set that this CPU has, forced with OFFLOOP_CPU in a process of its own, against hashlib in threads.

Without AVX-512 the figures are reported; the demand is only that offloop is never slower than hashlib in threads.
A CPU that has AVX2 but not SHA-NI has it for nobody: the last set takes the instruction from OpenSSL, too, and so from
hashlib.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import Loop, Report, Row, Spread

import offloop
from offloop import _core

# What offloop is forced to, what OpenSSL is told of the CPU, and the words for it. OPENSSL_ia32cap(3): after the colon
# stand the bits of CPUID leaf 7, EBX first; bit 29 is SHA.
FORCED = (
    ("shani", None, "OFFLOOP_CPU=shani"),
    ("avx2", None, "OFFLOOP_CPU=avx2, hashlib with what the CPU has"),
    ("avx2", ":~0x20000000", "OFFLOOP_CPU=avx2, neither with SHA-NI"),
)
CASES = [(2, 10_000_000), (4, 10_000_000), (8, 10_000_000), (100, 1_000_000), (1000, 100_000)]
CHILD = "--child"


def hash_here(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


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


def child(repeats: int, shrink: int) -> None:
    """In the process with the forced kernels: print the rounds as JSON."""
    workers = int(offloop.configure()["threads"])
    found = []
    with Loop() as loop, ThreadPoolExecutor(workers) as pool:
        for count, size in CASES:
            payloads = harness.payloads(max(2, count // shrink) if size < 10_000_000 else count, size)
            expected = [hash_here(payload) for payload in payloads]
            contenders = {
                "hashlib in threads": lambda p=payloads, e=expected: in_threads(pool, p, e),  # type: ignore[misc]
                "offloop.sha256": loop.contender(lambda p=payloads, e=expected: together(p, e)),  # type: ignore[misc]
            }
            found.append((f"{len(payloads)} x {size // 1000} KB", harness.interleaved(contenders, repeats)))
    build = _core.build_info()
    print(json.dumps({"problem": build["cpu_problem"], "kernels": build["kernels"], "rows": found}))


def main() -> None:
    if CHILD in sys.argv:
        child(int(sys.argv[2]), int(sys.argv[3]))
        return
    given = harness.arguments(__doc__, repeats=9)
    report = Report("kernels_forced", given)
    for forced, openssl, words in FORCED:
        environment = dict(os.environ, OFFLOOP_CPU=forced)
        if openssl is not None:
            environment["OPENSSL_ia32cap"] = openssl
        output = subprocess.run(
            [sys.executable, __file__, CHILD, str(given.repeats), "10" if given.quick else "1"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        answer = json.loads(output)
        if answer["problem"]:
            print(f"\n{words}: {answer['problem']}")
            continue
        for case, rounds in answer["rows"]:
            values = {name: Spread.of(taken) for name, taken in rounds.items()}
            row = Row(f"{words}: {case}", "s", values, rounds=rounds)
            row.demand("hashlib in threads / offloop", row.ratio("hashlib in threads", "offloop.sha256"), 1.0)
            report.add(row)
        report.facts[f"kernels_{forced}"] = answer["kernels"]
    report.finish()


if __name__ == "__main__":
    main()
