"""The function on the loop's thread."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.call import CallWork


def _open(work: CallWork) -> AbstractContextManager[Running]:
    async def one(item: bytes) -> Any:
        return work.function(item)

    return on_loop(each(one, work.data, work.at_once), work.bursts)


CONTENDERS = [Contender("inline", "asyncio", "called in the task, no thread", _open, classic=True)]
