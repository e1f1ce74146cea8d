"""aiohttp on the loop, Pillow and hashlib in a thread for each core."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS, aiohttp_client
from offloop.bench.tasks.fetch_image import FetchImageWork
from offloop.bench.tasks.fetch_image.aiohttp_inline import answer_by
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image.resizing import PLAIN, SCALED, pillow_resize, pillow_scaled


@contextlib.contextmanager
def in_threads(work: FetchImageWork, resize: Callable[[bytes, int], bytes], kind: str = "asyncio") -> Iterator[Running]:
    """Each body goes to the pool when it is there."""
    with (
        ThreadPoolExecutor(CORES) as pool,
        aiohttp_client(work.fetch, kind=kind, pool=pool, answer=answer_by(resize, work.width)) as running,
    ):
        yield running


def _plain(work: FetchImageWork) -> AbstractContextManager[Running]:
    return in_threads(work, pillow_resize)


def _scaled(work: FetchImageWork) -> AbstractContextManager[Running]:
    return in_threads(work, pillow_scaled)


CONTENDERS = [
    Contender("aiohttp, Pillow in threads", "asyncio", f"{SETTINGS}; {CORES} threads; {PLAIN}", _plain),
    Contender(
        "aiohttp, Pillow scaled decode, in threads", "asyncio", f"{SETTINGS}; {CORES} threads; {SCALED}", _scaled
    ),
]
