"""ProcessPoolExecutor: no GIL to fight for, but every payload is pickled and sent through a pipe."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import on_loop, together
from offloop.bench.tasks.hash import HashWork
from offloop.bench.tasks.hash.thread_pool import CHUNKS_A_WORKER, CORES, hash_chunk, in_chunks


def ignore_interrupts() -> None:
    """Ctrl-C is answered by the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Put off Ctrl-C to the end of the block, and block it in processes that are started in it. For the main thread.

    A pool that is interrupted while it starts leaves children behind that die with a traceback.
    """
    resource_tracker.ensure_running()  # it would unblock the signal when it is started in the block
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # the fork server and its children inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if seen:  # whatever else came of it
            raise KeyboardInterrupt


@contextlib.contextmanager
def process_pool() -> Iterator[tuple[ProcessPoolExecutor, list[int]]]:
    """A started pool with a process for each core, and their ids.

    By the fork server, as since Python 3.14: forking a process with threads is what CPython warns of.
    """
    before = {child.pid for child in multiprocessing.active_children()}
    context = multiprocessing.get_context("forkserver")
    with contextlib.ExitStack() as stack:
        with interrupts_wait():
            pool = stack.enter_context(ProcessPoolExecutor(CORES, context, initializer=ignore_interrupts))
            for started in [pool.submit(time.sleep, 0.05) for _ in range(CORES)]:
                started.result()
        children = [child.pid for child in multiprocessing.active_children()]
        yield pool, [pid for pid in children if pid is not None and pid not in before]


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
