"""The function in threads: runs side by side only while it has released the GIL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.call import CallWork
from offloop.bench.tasks.hash.thread_pool import CORES


@contextlib.contextmanager
def _open(work: CallWork) -> Iterator[Running]:
    with ThreadPoolExecutor(CORES) as pool:

        async def one(item: bytes) -> Any:
            return await asyncio.get_running_loop().run_in_executor(pool, work.function, item)

        with on_loop(each(one, work.data, work.at_once), work.bursts) as running:
            yield running


CONTENDERS = [Contender("threads", "asyncio", f"ThreadPoolExecutor of {CORES}, one call an item", _open)]
