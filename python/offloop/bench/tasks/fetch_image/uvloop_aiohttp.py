"""aiohttp on uvloop, Pillow inline and in threads: at its fastest."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS, aiohttp_client
from offloop.bench.tasks.fetch_image import FetchImageWork
from offloop.bench.tasks.fetch_image.aiohttp_inline import answer_by
from offloop.bench.tasks.fetch_image.aiohttp_threads import in_threads
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image.resizing import SCALED, pillow_scaled


def _inline(work: FetchImageWork) -> AbstractContextManager[Running]:
    return aiohttp_client(work.fetch, kind="uvloop", answer=answer_by(pillow_scaled, work.width))


def _threads(work: FetchImageWork) -> AbstractContextManager[Running]:
    return in_threads(work, pillow_scaled, "uvloop")


CONTENDERS = [
    Contender("uvloop, aiohttp, Pillow scaled decode, inline", "asyncio", f"{SETTINGS}; {SCALED}", _inline),
    Contender(
        "uvloop, aiohttp, Pillow scaled decode, in threads",
        "asyncio",
        f"{SETTINGS}; {CORES} threads; {SCALED}",
        _threads,
    ),
]
