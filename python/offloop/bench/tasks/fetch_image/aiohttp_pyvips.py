"""aiohttp on the loop, libvips by pyvips in a thread for each core."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS
from offloop.bench.tasks.fetch_image import FetchImageWork
from offloop.bench.tasks.fetch_image.aiohttp_threads import in_threads
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image.pyvips_threads import VIPS
from offloop.bench.tasks.image.resizing import pyvips_module, vips_thumbnail


def _open(work: FetchImageWork) -> AbstractContextManager[Running]:
    pyvips_module()
    return in_threads(work, vips_thumbnail)


CONTENDERS = [Contender("aiohttp, pyvips in threads", "asyncio", f"{SETTINGS}; {CORES} threads; {VIPS}", _open)]
