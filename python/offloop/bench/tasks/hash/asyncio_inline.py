"""hashlib on the loop's thread: the least overhead, and the loop stands still meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash import HashWork, hash_here


async def inline(payload: bytes) -> str:
    """What a program without offloop writes first."""
    return hash_here(payload)


def _open(work: HashWork) -> AbstractContextManager[Running]:
    return on_loop(each(inline, work.payloads, work.at_once), work.bursts)


CONTENDERS = [
    Contender("asyncio, hashlib inline", "asyncio", "hashlib.sha256 in the task, no thread", _open, classic=True)
]
