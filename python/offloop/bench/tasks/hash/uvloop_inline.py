"""The same as asyncio_inline and thread_pool on uvloop, whose loop costs less."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash import HashWork, hash_here
from offloop.bench.tasks.hash.asyncio_inline import inline
from offloop.bench.tasks.hash.thread_pool import CORES


def _inline(work: HashWork) -> AbstractContextManager[Running]:
    return on_loop(each(inline, work.payloads, work.at_once), work.bursts, kind="uvloop")


@contextlib.contextmanager
def _threads(work: HashWork) -> Iterator[Running]:
    with ThreadPoolExecutor(CORES) as pool:

        async def in_pool(payload: bytes) -> str:
            return await asyncio.get_running_loop().run_in_executor(pool, hash_here, payload)

        with on_loop(each(in_pool, work.payloads, work.at_once), work.bursts, kind="uvloop") as running:
            yield running


CONTENDERS = [
    Contender("uvloop, hashlib inline", "asyncio", "hashlib.sha256 in the task, no thread", _inline),
    Contender("uvloop, ThreadPoolExecutor", "asyncio", f"{CORES} threads, run_in_executor of each payload", _threads),
]
