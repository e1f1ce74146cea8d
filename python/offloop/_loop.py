"""The one file that knows event loops. Called by ``_core`` once for each loop, on its first operation."""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import threading
import weakref
from collections.abc import Callable

_loops: dict[int, weakref.ref[asyncio.AbstractEventLoop]] = {}


def attach(
    loop: asyncio.AbstractEventLoop, fd: int, drain: Callable[[], None], loop_is_gone: Callable[[object], None]
) -> None:
    """Makes ``loop`` call ``drain`` when ``fd`` (an eventfd) is readable, and ``loop_is_gone`` once it is collected.

    The reader is registered in an empty context: a copy of the current one would keep the first request's context
    variables alive for as long as the loop lives.
    """
    try:
        contextvars.Context().run(loop.add_reader, fd, drain)
    except NotImplementedError:
        _watch_in_thread(loop, fd, drain)
    key = id(loop)

    def forget(ref: weakref.ref[asyncio.AbstractEventLoop]) -> None:
        if _loops.get(key) is ref:
            del _loops[key]
        loop_is_gone(ref)

    _loops[key] = weakref.ref(loop, forget)


def _watch_in_thread(loop: asyncio.AbstractEventLoop, fd: int, drain: Callable[[], None]) -> None:
    """For loops without ``add_reader``: a daemon thread waits for the eventfd and calls back once for each burst."""
    watched = os.dup(fd)
    loop_ref = weakref.ref(loop)

    def watch() -> None:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        drained = threading.Event()

        def run_drain() -> None:
            try:
                drain()
            finally:
                drained.set()

        try:
            while True:
                ready = poll.poll(1000)
                target = loop_ref()
                if target is None or target.is_closed():
                    return
                if not ready:
                    continue
                drained.clear()
                try:
                    target.call_soon_threadsafe(run_drain, context=contextvars.Context())
                except RuntimeError:  # closed just now
                    return
                del target
                # The fd stays readable until the drain has read it: without this wait the thread would spin.
                while not drained.wait(1.0):
                    target = loop_ref()
                    if target is None or target.is_closed():
                        return
                    del target
        finally:
            os.close(watched)

    threading.Thread(target=watch, name="offloop-watch", daemon=True).start()
