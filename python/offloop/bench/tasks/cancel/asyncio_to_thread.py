"""Hashing in threads: what is queued is dropped, what runs goes on behind the back of the group."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.cancel import CancelWork, by_hand, by_task_group, cancels
from offloop.bench.tasks.hash import hash_here


async def _hash(payload: bytes) -> str:
    return await asyncio.to_thread(hash_here, payload)


def _group(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _hash, by_task_group)


def _gather(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _hash, by_hand)


CONTENDERS = [
    Contender("TaskGroup of to_thread", "asyncio", "the loop's own thread pool", _group, classic=True),
    Contender("gather and cancel, to_thread", "asyncio", "the same, cancelled by hand", _gather),
]
