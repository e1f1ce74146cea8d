"""The operation of offloop that gives the same answers, where there is one."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import Any

from offloop import hashing
from offloop.bench.model import Contender, Missing, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.call import CallWork


def _open(work: CallWork) -> AbstractContextManager[Running]:
    mapping = work.mapping
    if mapping is None:
        raise Missing(f"no operation of offloop gives the answers of {work.name}")
    operation = hashing.hexdigest if mapping.form == "hexdigest" else hashing.digest

    def one(item: bytes) -> Awaitable[Any]:
        return operation(item, mapping.algorithm)

    return on_loop(each(one, work.data, work.at_once), work.bursts)


CONTENDERS = [
    Contender("offloop", "hybrid", "await offloop.hashing.hexdigest or digest of each item", _open, classic=True)
]
