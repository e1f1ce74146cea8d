"""aiohttp at its best settings, for the contenders that use it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from offloop.bench.model import Missing, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.fetch import TIMEOUT_SECONDS, FetchWork, hash_here

SETTINGS = "aiohttp, one session kept open, keep-alive, whole bodies by read(), no cookies, no decompression"


@contextlib.contextmanager
def aiohttp_client(
    work: FetchWork,
    *,
    kind: str = "asyncio",
    threads: bool = False,
    pool: Executor | None = None,
    answer: Callable[[bytes], Any] = hash_here,
) -> Iterator[Running]:
    """One session on one loop; `answer` gets each body inline, in the loop's threads, or in `pool`. Raises Missing."""
    try:
        import aiohttp
    except ImportError:
        raise Missing("aiohttp is not installed (pip install 'offloop[bench]')") from None
    session: Any = None

    async def opening() -> None:
        nonlocal session
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=work.at_once, keepalive_timeout=600, use_dns_cache=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=work.headers,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            read_bufsize=1 << 20,
        )

    async def closing() -> None:
        await session.close()

    async def one(url: str) -> Any:
        async with session.get(url) as response:
            response.raise_for_status()
            body = await response.read()
        if pool is not None:
            return await asyncio.get_running_loop().run_in_executor(pool, answer, body)
        return await asyncio.to_thread(answer, body) if threads else answer(body)

    burst = each(one, work.urls, work.at_once)
    with on_loop(burst, work.bursts, kind=kind, opening=opening, closing=closing) as running:
        yield running
