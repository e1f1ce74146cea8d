"""aiohttp, hashlib in the loop's thread pool: worth it for large bodies."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.fetch import FetchWork
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS, aiohttp_client


def _open(work: FetchWork) -> AbstractContextManager[Running]:
    return aiohttp_client(work, threads=True)


CONTENDERS = [Contender("aiohttp, hashlib in threads", "asyncio", f"{SETTINGS}; to_thread", _open)]
