"""offloop, one await a URL: the body is hashed in the core while it arrives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.fetch import TIMEOUT_SECONDS, FetchWork
from offloop.fetch import Fetcher


@contextlib.contextmanager
def _fetcher(work: FetchWork, kind: str = "asyncio") -> Iterator[Running]:
    fetcher: Fetcher | None = None

    async def opening() -> None:
        nonlocal fetcher
        fetcher = Fetcher(max_concurrent=work.at_once, timeout=TIMEOUT_SECONDS, decompress=False, headers=work.headers)

    async def closing() -> None:
        if fetcher is not None:
            fetcher.close()

    async def one(url: str) -> str:
        assert fetcher is not None  # opening has run
        return (await fetcher.hash(url)).hexdigest

    burst = each(one, work.urls, work.at_once)
    with on_loop(burst, work.bursts, kind=kind, opening=opening, closing=closing) as running:
        yield running


def _uvloop(work: FetchWork) -> AbstractContextManager[Running]:
    return _fetcher(work, "uvloop")


_SETTINGS = "one Fetcher, one I/O thread, await fetcher.hash(url), no decompression"
CONTENDERS = [
    Contender("offloop, await each", "hybrid", _SETTINGS, _fetcher, classic=True),
    Contender("uvloop, offloop, await each", "hybrid", _SETTINGS, _uvloop),
]
