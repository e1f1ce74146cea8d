"""libvips by pyvips in a thread for each core: what those pick who find Pillow slow. It releases the GIL."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import pyvips_module, vips_thumbnail
from offloop.bench.tasks.image.thread_pool import in_pool

VIPS = "pyvips: thumbnail_buffer, write_to_buffer, one thread of its own a picture, no cache"


def _open(work: ImageWork) -> AbstractContextManager[Running]:
    pyvips_module()
    return in_pool(work, vips_thumbnail)


CONTENDERS = [Contender("ThreadPoolExecutor, pyvips", "asyncio", f"{CORES} threads; {VIPS}", _open)]
