"""aiohttp, Pillow and hashlib on the loop's thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS, aiohttp_client
from offloop.bench.tasks.fetch_image import Fetched, FetchImageWork, answered
from offloop.bench.tasks.image.resizing import PLAIN, SCALED, pillow_resize, pillow_scaled


def answer_by(resize: Callable[[bytes, int], bytes], width: int) -> Callable[[bytes], Fetched]:
    """Resizes a body and hashes both."""
    return lambda body: answered(body, resize(body, width))


def _plain(work: FetchImageWork) -> AbstractContextManager[Running]:
    return aiohttp_client(work.fetch, answer=answer_by(pillow_resize, work.width))


def _scaled(work: FetchImageWork) -> AbstractContextManager[Running]:
    return aiohttp_client(work.fetch, answer=answer_by(pillow_scaled, work.width))


CONTENDERS = [
    Contender("aiohttp, Pillow inline", "asyncio", f"{SETTINGS}; {PLAIN}", _plain, classic=True),
    Contender("aiohttp, Pillow scaled decode, inline", "asyncio", f"{SETTINGS}; {SCALED}", _scaled),
]
