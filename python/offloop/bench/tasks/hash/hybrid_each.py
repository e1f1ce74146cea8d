"""offloop, one await a payload: the drop-in for hashlib in a coroutine."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import offloop
from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash import HashWork


def _asyncio(work: HashWork) -> AbstractContextManager[Running]:
    return on_loop(each(offloop.sha256, work.payloads, work.at_once), work.bursts)


def _uvloop(work: HashWork) -> AbstractContextManager[Running]:
    return on_loop(each(offloop.sha256, work.payloads, work.at_once), work.bursts, kind="uvloop")


_WORKERS = f"OFFLOOP_THREADS={value}" if (value := os.environ.get("OFFLOOP_THREADS")) else "a worker for each CPU"
_SETTINGS = f"await offloop.sha256(payload) in each task; {_WORKERS}, defaults throughout"
CONTENDERS = [
    Contender("offloop, await each", "hybrid", _SETTINGS, _asyncio, classic=True),
    Contender("uvloop, offloop, await each", "hybrid", _SETTINGS, _uvloop),
]
