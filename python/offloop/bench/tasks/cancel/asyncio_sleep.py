"""Tasks that only sleep: the floor, for nothing but asyncio is in it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.cancel import CancelWork, by_hand, by_task_group, cancels


async def _sleep(payload: bytes) -> None:
    await asyncio.sleep(3600 if payload else 0)


def _group(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _sleep, by_task_group)


def _gather(work: CancelWork) -> AbstractContextManager[Running]:
    return cancels(work, _sleep, by_hand)


CONTENDERS = [
    Contender("TaskGroup of asyncio.sleep", "other", "no work at all: what asyncio itself costs", _group),
    Contender("gather and cancel, asyncio.sleep", "other", "the same, cancelled by hand", _gather),
]
