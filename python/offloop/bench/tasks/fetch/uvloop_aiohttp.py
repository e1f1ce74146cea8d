"""aiohttp on uvloop, hashlib inline and in threads."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.fetch import FetchWork
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS, aiohttp_client


def _inline(work: FetchWork) -> AbstractContextManager[Running]:
    return aiohttp_client(work, kind="uvloop")


def _threads(work: FetchWork) -> AbstractContextManager[Running]:
    return aiohttp_client(work, kind="uvloop", threads=True)


CONTENDERS = [
    Contender("uvloop, aiohttp, inline", "asyncio", SETTINGS, _inline),
    Contender("uvloop, aiohttp, in threads", "asyncio", f"{SETTINGS}; to_thread", _threads),
]
