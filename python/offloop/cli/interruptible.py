"""Ends work in order on SIGINT and SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


class Interrupted(Exception):
    """SIGINT or SIGTERM came and the work was stopped in order."""


async def interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; the first SIGINT or SIGTERM cancels it (Interrupted), a second one ends the program at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    came = False

    def stop() -> None:
        nonlocal came
        came = True
        task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second one finds the default again

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not came:
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if came:
        raise Interrupted
