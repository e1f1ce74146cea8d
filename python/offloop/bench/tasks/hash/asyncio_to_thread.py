"""asyncio.to_thread: hashlib releases the GIL above 2047 bytes, so the threads do run side by side."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash import HashWork, hash_here


async def in_thread(payload: bytes) -> str:
    """What asyncio's documentation shows."""
    return await asyncio.to_thread(hash_here, payload)


def _open(work: HashWork) -> AbstractContextManager[Running]:
    return on_loop(each(in_thread, work.payloads, work.at_once), work.bursts)


_THREADS = min(32, (os.cpu_count() or 1) + 4)
CONTENDERS = [
    Contender("asyncio.to_thread", "asyncio", f"the loop's own pool, {_THREADS} threads, one call a payload", _open)
]
