"""Pillow on uvloop, inline and in threads: at its fastest."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.pillow_inline import inline
from offloop.bench.tasks.image.resizing import SCALED, pillow_scaled
from offloop.bench.tasks.image.thread_pool import in_pool


def _inline(work: ImageWork) -> AbstractContextManager[Running]:
    return inline(work, pillow_scaled, "uvloop")


def _threads(work: ImageWork) -> AbstractContextManager[Running]:
    return in_pool(work, pillow_scaled, "uvloop")


CONTENDERS = [
    Contender("uvloop, Pillow scaled decode, inline", "asyncio", f"in the task, no thread; {SCALED}", _inline),
    Contender("uvloop, ThreadPoolExecutor, Pillow scaled decode", "asyncio", f"{CORES} threads; {SCALED}", _threads),
]
