"""Fetch, resize to 256 px and hash JPEGs of about 107 kB from nginx on loopback: aiohttp with Pillow against offloop.

nginx shares the cores with whoever fetches. aiohttp keeps one session with 64 connections over all rounds; Pillow runs
inline or in a thread for each core, as plain resize or as `thumbnail`, which lets libjpeg decode smaller. The digests
are of input and result; the input's are compared in every round, the pictures with Pillow's before the clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import harness
import pictures
from harness import Loop, Report
from PIL import Image

import offloop
from offloop import image
from offloop.testing.nginx import NginxOrigin

CONNECTIONS = 64
REQUESTS = 2000
SIDE = 256
MOST_DIFFERENT = 9.0
TIMEOUT_SECONDS = 300.0
# On Sapphire Rapids: 900 pictures/s against 306 of aiohttp with Pillow in threads.
TARGET = 900 / 306

Answer = tuple[str, str, bytes]  # digest of the input, digest of the result, the result
One = Callable[[str], Awaitable[Answer]]


def pillow_resize(body: bytes) -> Answer:
    picture = Image.open(io.BytesIO(body))
    size = (SIDE, max(1, round(picture.height * SIDE / picture.width)))
    return hashed(body, pictures.encoded(picture.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=80))


def pillow_thumbnail(body: bytes) -> Answer:
    picture = Image.open(io.BytesIO(body))
    size = (SIDE, max(1, round(picture.height * SIDE / picture.width)))
    picture.draft("RGB", size)
    return hashed(body, pictures.encoded(picture.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=80))


def hashed(body: bytes, result: bytes) -> Answer:
    return hashlib.sha256(body).hexdigest(), hashlib.sha256(result).hexdigest(), result


@contextmanager
def session_on(loop: Loop) -> Iterator[list[aiohttp.ClientSession]]:
    sessions: list[aiohttp.ClientSession] = []

    async def opened() -> float:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=600)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        jar = aiohttp.DummyCookieJar()
        sessions.append(aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout))
        return 0.0

    async def closed() -> float:
        await sessions[0].close()
        return 0.0

    loop.run(opened())
    try:
        yield sessions
    finally:
        loop.run(closed())


def with_aiohttp(
    sessions: list[aiohttp.ClientSession], work: Callable[[bytes], Answer], pool: ThreadPoolExecutor | None
) -> One:
    async def one(url: str) -> Answer:
        async with sessions[0].get(url) as response:
            response.raise_for_status()
            body = await response.read()
        return work(body) if pool is None else await asyncio.get_running_loop().run_in_executor(pool, work, body)

    return one


def with_offloop(fetcher: offloop.Fetcher) -> One:
    pipeline = image.Pipeline().resize(SIDE).to("jpeg", quality=80)

    async def one(url: str) -> Answer:
        picture = await pipeline.run(url, hash=True, fetcher=fetcher)
        return picture.input_sha256 or "", picture.sha256 or "", picture.data

    return one


async def all_of(one: One, urls: Sequence[str], digests: Sequence[str], references: Sequence[bytes] = ()) -> float:
    left = iter(range(len(urls)))
    answers: list[Answer | None] = [None] * len(urls)

    async def worker() -> None:
        for index in left:
            answers[index] = await one(urls[index])

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(worker())
    seconds = time.perf_counter() - started
    for index, answer in enumerate(answers):
        if answer is None or answer[0] != digests[index % len(digests)]:
            raise AssertionError(f"{urls[index]}: wrong digest of the input")
        if hashlib.sha256(answer[2]).hexdigest() != answer[1]:
            raise AssertionError(f"{urls[index]}: wrong digest of the result")
        if index < len(references):
            pictures.agree([answer[2]], [references[index]], MOST_DIFFERENT)
    return seconds


def main() -> None:
    given = harness.arguments(__doc__, repeats=5)
    report = Report("fetch_resize", given)
    bodies = pictures.small_jpegs(8 if given.quick else pictures.SMALL_COUNT)
    requests = REQUESTS // 10 if given.quick else REQUESTS
    digests = [hashlib.sha256(body).hexdigest() for body in bodies]
    references = [pillow_resize(body)[2] for body in bodies]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for index, body in enumerate(bodies):
            (folder / f"{index}.jpg").write_bytes(body)
        origin = stack.enter_context(NginxOrigin(folder))
        urls = [origin.url(f"/{index % len(bodies)}.jpg?{index}") for index in range(requests)]
        loop = stack.enter_context(Loop())
        sessions = stack.enter_context(session_on(loop))
        pool = stack.enter_context(ThreadPoolExecutor(len(os.sched_getaffinity(0))))
        fetcher = offloop.Fetcher(max_concurrent=CONNECTIONS, timeout=TIMEOUT_SECONDS)
        stack.callback(fetcher.close)
        works = {
            "aiohttp, Pillow resize inline": with_aiohttp(sessions, pillow_resize, None),
            "aiohttp, Pillow resize in threads": with_aiohttp(sessions, pillow_resize, pool),
            "aiohttp, Pillow thumbnail in threads": with_aiohttp(sessions, pillow_thumbnail, pool),
            "offloop": with_offloop(fetcher),
        }
        for one in works.values():
            loop.run(all_of(one, urls[: len(bodies)], digests, references))
        contenders = {
            name: loop.contender(lambda one=one: all_of(one, urls, digests))  # type: ignore[misc]
            for name, one in works.items()
        }
        size = sum(map(len, bodies)) / len(bodies) / 1000
        name = f"{requests} JPEGs of {size:.0f} kB, {CONNECTIONS} connections, to {SIDE} px"
        row = harness.measure(name, "s", contenders, given.repeats)
    plain = "aiohttp, Pillow resize in threads"
    row.demand(f"{plain} / offloop", row.ratio(plain, "offloop"), TARGET, source="900 against 306 pictures a second")
    row.compare("aiohttp, Pillow resize inline", "offloop")
    row.compare("aiohttp, Pillow thumbnail in threads", "offloop")
    rates = harness.Spread.of([requests / seconds for seconds in row.rounds["offloop"]])
    row.notes.append(f"offloop makes {harness.shown(rates, '/s')}, nginx on the same cores")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.facts["peak_mb"] = round(peak)
    row.notes.append(f"peak memory of the process, all contenders and {len(bodies)} pictures included: {peak:.0f} MB")
    report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
