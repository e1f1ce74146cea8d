"""offloop, one call for all URLs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import offloop
from offloop.bench.model import Contender, Missing, Running
from offloop.bench.on_loop import on_loop, together
from offloop.bench.tasks.fetch import TIMEOUT_SECONDS, FetchWork


def _open(work: FetchWork) -> AbstractContextManager[Running]:
    if work.headers:
        raise Missing("fetch_and_hash_urls sends no headers of the caller's, which this list needs")

    async def many(urls: Sequence[str]) -> list[str]:
        found = await offloop.fetch_and_hash_urls(urls, max_concurrent=work.at_once, timeout=TIMEOUT_SECONDS)
        return list(found.values())

    return on_loop(together(many, work.urls), work.bursts)


CONTENDERS = [
    Contender("offloop, fetch_and_hash_urls", "hybrid", "one await for all URLs, the process's fetcher", _open)
]
