"""Fetching from nginx on loopback and hashing, 64 connections: aiohttp + hashlib against offloop.fetch_and_hash_urls.

nginx shares the cores with whoever fetches. aiohttp runs at its best settings: one session kept over all rounds, 64
keep-alive connections, 64 tasks that each take the next URL, whole bodies by read(); the loop asyncio or uvloop,
hashlib inline or, for large bodies, in threads. The target is asked of the best of these at each size.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import harness
from harness import Loop, Report

import offloop
from offloop.testing.nginx import NginxOrigin

CONNECTIONS = 64
FILES = 16  # different bodies of each size, so that an answer cannot be right by chance
TIMEOUT_SECONDS = 120.0

# name, bytes, requests, target
CASES: list[tuple[str, int, int, float | None]] = [
    ("1 KB", 1000, 20_000, 3.0),
    ("100 KB", 100_000, 8000, 2.0),
    ("1 MB", 1_000_000, 1500, 2.0),
    ("10 MB", 10_000_000, 128, None),
]
# Giving hashlib a thread costs 30 us: worth trying from here on.
THREADS_FROM = 100_000


def write_files(folder: Path) -> dict[str, str]:
    """Make FILES bodies of each size; path on the server to digest."""
    digests = {}
    for _, size, _, _ in CASES:
        base = random.Random(size).randbytes(size)
        for index in range(FILES):
            body = index.to_bytes(8, "big") + base[8:]
            (folder / f"{size}-{index}").write_bytes(body)
            digests[f"/{size}-{index}"] = hashlib.sha256(body).hexdigest()
    return digests


def hash_here(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def compare(answers: Mapping[str, object], expected: Mapping[str, str]) -> None:
    if answers != expected:
        wrong = next(url for url in expected if answers.get(url) != expected[url])
        raise AssertionError(f"{wrong}: got {answers.get(wrong)!r}, expected {expected[wrong]}")


class Aiohttp:
    """One session on one event loop, kept over all rounds."""

    def __init__(self, loop: Loop, *, threads: bool) -> None:
        self._loop = loop
        self._threads = threads
        self._session: aiohttp.ClientSession | None = None

    async def _open(self) -> float:
        # The cookie jar and automatic decompression are off: nothing here needs them, and each costs time.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=600, use_dns_cache=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            read_bufsize=1 << 20,
        )
        return 0.0

    async def _close(self) -> float:
        if self._session is not None:
            await self._session.close()
        return 0.0

    def __enter__(self) -> Aiohttp:
        self._loop.run(self._open())
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.run(self._close())

    def measure(self, urls: Sequence[str], expected: Mapping[str, str]) -> float:
        return self._loop.run(self._fetch(urls, expected))

    async def _fetch(self, urls: Sequence[str], expected: Mapping[str, str]) -> float:
        session = self._session
        assert session is not None
        answers: dict[str, str] = {}
        left = iter(urls)

        async def worker() -> None:
            for url in left:
                async with session.get(url) as response:
                    response.raise_for_status()
                    body = await response.read()
                answers[url] = await asyncio.to_thread(hash_here, body) if self._threads else hash_here(body)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(worker())
        seconds = time.perf_counter() - started
        compare(answers, expected)
        return seconds


async def with_offloop(urls: Sequence[str], expected: Mapping[str, str]) -> float:
    started = time.perf_counter()
    answers = await offloop.fetch_and_hash_urls(urls, max_concurrent=CONNECTIONS, timeout=TIMEOUT_SECONDS)
    seconds = time.perf_counter() - started
    compare(answers, expected)
    return seconds


def case(
    report: Report, origin: NginxOrigin, digests: Mapping[str, str], name: str, size: int, requests: int,
    target: float | None, repeats: int,
) -> None:  # fmt: skip
    # Different URLs, for a URL listed twice is fetched once; nginx ignores the query of a file.
    expected = {
        origin.url(f"/{size}-{index % FILES}?{index}"): digests[f"/{size}-{index % FILES}"] for index in range(requests)
    }
    urls = list(expected)
    with ExitStack() as stack:
        contenders: dict[str, harness.Contender] = {}
        for kind in harness.loop_kinds():
            loop = stack.enter_context(Loop(kind))
            for threads in (False, True) if size >= THREADS_FROM else (False,):
                client = stack.enter_context(Aiohttp(loop, threads=threads))
                label = f"aiohttp, {kind}, hashlib {'in threads' if threads else 'inline'}"
                contenders[label] = lambda client=client: client.measure(urls, expected)  # type: ignore[misc]
            contenders[f"offloop, {kind}"] = loop.contender(lambda: with_offloop(urls, expected))
        row = harness.measure(f"{name}: {requests} requests, {CONNECTIONS} connections", "s", contenders, repeats)
    best, ours = row.fastest("aiohttp"), row.fastest("offloop")
    if target is None:
        row.compare(best, ours)
    else:
        row.demand(f"{best} / {ours}", row.ratio(best, ours), target)
    for label in row.values:
        rate = requests / row.values[label].median
        row.notes.append(f"{label}: {harness.number(rate, '/s')}, {rate * size / 1e6:.0f} MB/s")
    report.add(row)


def main() -> None:
    given = harness.arguments(__doc__, repeats=5)
    report = Report("fetch_hash", given)
    report.facts["aiohttp"] = aiohttp.__version__
    with tempfile.TemporaryDirectory(prefix="offloop-fetch-") as temporary:
        digests = write_files(Path(temporary))
        with NginxOrigin(temporary) as origin:
            for name, size, requests, target in CASES:
                count = max(64, requests // 20) if given.quick else requests
                case(report, origin, digests, name, size, count, target, given.repeats)
    report.finish()


if __name__ == "__main__":
    main()
