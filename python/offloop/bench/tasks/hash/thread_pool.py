"""ThreadPoolExecutor with a thread for each core: one call a payload, and in chunks, its best for small ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop, together
from offloop.bench.tasks.hash import HashWork, hash_here

CORES = len(os.sched_getaffinity(0))
CHUNKS_A_WORKER = 4  # enough for even ends, few enough to cost nothing


def hash_chunk(payloads: Sequence[bytes]) -> list[str]:
    """Hash several payloads in one call."""
    return [hash_here(payload) for payload in payloads]


def in_chunks(
    pool: Executor, hash_them: Callable[[Sequence[bytes]], list[str]]
) -> Callable[[Sequence[bytes]], Awaitable[list[str]]]:
    """A call that splits its payloads over the pool's workers."""

    async def many(payloads: Sequence[bytes]) -> list[str]:
        loop = asyncio.get_running_loop()
        step = max(1, -(-len(payloads) // (CORES * CHUNKS_A_WORKER)))
        chunks = [payloads[start : start + step] for start in range(0, len(payloads), step)]
        answers = await asyncio.gather(*[loop.run_in_executor(pool, hash_them, chunk) for chunk in chunks])
        return [digest for part in answers for digest in part]

    return many


@contextlib.contextmanager
def _one_call_each(work: HashWork) -> Iterator[Running]:
    with ThreadPoolExecutor(CORES) as pool:

        async def in_pool(payload: bytes) -> str:
            return await asyncio.get_running_loop().run_in_executor(pool, hash_here, payload)

        with on_loop(each(in_pool, work.payloads, work.at_once), work.bursts) as running:
            yield running


@contextlib.contextmanager
def _chunks(work: HashWork) -> Iterator[Running]:
    with (
        ThreadPoolExecutor(CORES) as pool,
        on_loop(together(in_chunks(pool, hash_chunk), work.payloads), work.bursts) as running,
    ):
        yield running


CONTENDERS = [
    Contender("ThreadPoolExecutor", "asyncio", f"{CORES} threads, run_in_executor of each payload", _one_call_each),
    Contender("ThreadPoolExecutor, chunks", "asyncio", f"{CORES} threads, {CHUNKS_A_WORKER} chunks a thread", _chunks),
]
