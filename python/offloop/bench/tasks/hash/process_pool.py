"""ProcessPoolExecutor: no GIL to fight for, but every payload is pickled and sent through a pipe."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import on_loop, together
from offloop.bench.tasks.hash import HashWork
from offloop.bench.tasks.hash.thread_pool import CHUNKS_A_WORKER, CORES, hash_chunk, in_chunks


def ignore_interrupts() -> None:
    """Ctrl-C is answered by the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def process_pool() -> Iterator[tuple[ProcessPoolExecutor, list[int]]]:
    """A started pool with a process for each core, and their ids.

    By the fork server, as since Python 3.14: forking a process with threads is what CPython warns of.
    """
    before = {child.pid for child in multiprocessing.active_children()}
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(CORES, context, initializer=ignore_interrupts) as pool:
        for started in [pool.submit(time.sleep, 0.05) for _ in range(CORES)]:
            started.result()
        yield pool, [child.pid for child in multiprocessing.active_children() if child.pid and child.pid not in before]


@contextlib.contextmanager
def _open(work: HashWork) -> Iterator[Running]:
    with process_pool() as (pool, pids):
        burst = together(in_chunks(pool, hash_chunk), work.payloads)
        with on_loop(burst, work.bursts, helpers=pids) as running:
            yield running


CONTENDERS = [
    Contender(
        "ProcessPoolExecutor",
        "asyncio",
        f"{CORES} processes by the fork server, started before, {CHUNKS_A_WORKER} chunks a process",
        _open,
    )
]
