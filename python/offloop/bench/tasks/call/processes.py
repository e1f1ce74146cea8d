"""The function in processes: no GIL to fight for; arguments and answers are pickled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import on_loop, together
from offloop.bench.tasks.call import CallWork, load
from offloop.bench.tasks.hash.process_pool import process_pool
from offloop.bench.tasks.hash.thread_pool import CHUNKS_A_WORKER, CORES


def call_chunk(name: str, items: Sequence[bytes]) -> list[Any]:
    """Call the function of that name with each item; in a worker process."""
    function = load(name)
    return [function(item) for item in items]


@contextlib.contextmanager
def _open(work: CallWork) -> Iterator[Running]:
    with process_pool() as (pool, pids):

        async def many(items: Sequence[bytes]) -> list[Any]:
            loop = asyncio.get_running_loop()
            step = max(1, -(-len(items) // (CORES * CHUNKS_A_WORKER)))
            chunks = [items[start : start + step] for start in range(0, len(items), step)]
            answers = await asyncio.gather(
                *[loop.run_in_executor(pool, call_chunk, work.name, chunk) for chunk in chunks]
            )
            return [answer for part in answers for answer in part]

        with on_loop(together(many, work.data), work.bursts, helpers=pids) as running:
            yield running


CONTENDERS = [
    Contender("processes", "asyncio", f"ProcessPoolExecutor of {CORES}, {CHUNKS_A_WORKER} chunks a process", _open)
]
