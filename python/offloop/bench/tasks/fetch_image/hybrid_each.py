"""offloop, one await a URL: fetched, resized and hashed as one operation; the body never enters Python."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.fetch import TIMEOUT_SECONDS
from offloop.bench.tasks.fetch_image import Fetched, FetchImageWork
from offloop.bench.tasks.image.resizing import QUALITY, offloop_image
from offloop.fetch import Fetcher


@contextlib.contextmanager
def _pipeline(work: FetchImageWork, kind: str = "asyncio") -> Iterator[Running]:
    pipeline = offloop_image().Pipeline().resize(work.width).to("jpeg", quality=QUALITY, keep_profile=True)
    at_once, headers = work.fetch.at_once, work.fetch.headers
    fetcher: Fetcher | None = None

    async def opening() -> None:
        nonlocal fetcher
        fetcher = Fetcher(max_concurrent=at_once, timeout=TIMEOUT_SECONDS, decompress=False, headers=headers)

    async def closing() -> None:
        if fetcher is not None:
            fetcher.close()

    async def one(url: str) -> Fetched:
        picture = await pipeline.run(url, hash=True, fetcher=fetcher)
        return Fetched(picture.input_sha256, picture.sha256, picture.data)

    burst = each(one, work.fetch.urls, at_once)
    with on_loop(burst, work.fetch.bursts, kind=kind, opening=opening, closing=closing) as running:
        yield running


def _uvloop(work: FetchImageWork) -> AbstractContextManager[Running]:
    return _pipeline(work, "uvloop")


_SETTINGS = "one Fetcher, one I/O thread, await of one Pipeline: resize (Lanczos), to JPEG, hash=True"
CONTENDERS = [
    Contender("offloop, await each", "hybrid", _SETTINGS, _pipeline, classic=True),
    Contender("uvloop, offloop, await each", "hybrid", _SETTINGS, _uvloop),
]
