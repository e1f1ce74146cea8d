"""offloop's operations: what is queued never runs, what runs stops within 10 ms."""

from __future__ import annotations

from contextlib import AbstractContextManager

import offloop
from offloop.bench.model import Contender, Running
from offloop.bench.tasks.cancel import CancelWork, by_hand, by_task_group, cancels


async def _hash(payload: bytes) -> str:
    return await offloop.sha256(payload)


def _group(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _hash, by_task_group)


def _gather(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _hash, by_hand)


def _uvloop(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _hash, by_task_group, "uvloop")


CONTENDERS = [
    Contender("TaskGroup of offloop.sha256", "hybrid", "defaults throughout", _group, classic=True),
    Contender("gather and cancel, offloop.sha256", "hybrid", "the same, cancelled by hand", _gather),
    Contender("uvloop, TaskGroup of offloop.sha256", "hybrid", "defaults throughout", _uvloop),
]
