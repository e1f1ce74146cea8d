"""How long an event loop does not turn, and who keeps it: seen from another thread, without changing the loop."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import NamedTuple

from offloop.profiling.blame import Blamed, blamed, frames_of, is_waiting_loop

_RUN_FOREVER = asyncio.BaseEventLoop.run_forever.__code__
_RUNNER = asyncio.Runner.run.__code__


class Stall(NamedTuple):
    """The loop did not turn for `ns`, while it was mostly in `blamed`."""

    ns: int
    blamed: Blamed


def running_loops(frames: Mapping[int, FrameType]) -> Iterator[tuple[int, asyncio.AbstractEventLoop]]:
    """(thread, loop) of every loop that runs now, found on the threads' stacks."""
    for thread, innermost in frames.items():
        for frame in frames_of(innermost):
            owner = frame.f_locals.get("self") if frame.f_code in (_RUN_FOREVER, _RUNNER) else None
            loop = getattr(owner, "_loop", None) if frame.f_code is _RUNNER else owner
            if isinstance(loop, asyncio.AbstractEventLoop):
                yield thread, loop
                break


class Watch:
    """One loop: asked every few milliseconds for a sign of life. All but the answer is for the watcher's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int, threshold_ns: int) -> None:
        self.thread = thread
        self.loop = loop
        self._threshold_ns = threshold_ns
        self._posted_ns = 0
        self._answered_ns = 0
        self._seen: Counter[Blamed] = Counter()
        self._clock = time.pthread_getcpuclockid(thread)  # it lives: the caller has found the loop on its stack
        self._used_ns = self._cpu_ns()
        self._looked_ns = time.monotonic_ns()

    def _answer(self) -> None:  # on the loop
        self._answered_ns = time.monotonic_ns()

    def ask(self) -> bool:
        """Ask for the next sign of life. False: the loop is closed."""
        self._seen.clear()
        self._answered_ns = 0
        self._posted_ns = time.monotonic_ns()
        try:
            self.loop.call_soon_threadsafe(self._answer, context=contextvars.Context())
        except RuntimeError:
            return False
        return True

    def look(self, frame: FrameType | None) -> Stall | None:
        """Once a tick: the stall that is over now, if any; `frame` is where the loop's thread is."""
        if self._answered_ns:
            return self._over(self._answered_ns - self._posted_ns)
        # A moment later than asked is no stall, and costs no look at the source.
        if time.monotonic_ns() - self._posted_ns > self._threshold_ns // 2:
            who = None if frame is None or is_waiting_loop(frame) else blamed(frame)
            if who is not None:
                self._seen[who] += 1
        return None

    @property
    def answered(self) -> bool:
        """Whether the sign of life has come."""
        return self._answered_ns != 0

    def unasked(self, tick_ns: int, frame: FrameType | None) -> Stall | None:
        """Once a tick: a time in which nobody else got the GIL, the watcher included, is whoever's who runs now.

        From one look to the next and not only while the watcher sleeps: it gives up the GIL in between, too, to read
        a source or to write what it has found. Only when the loop's thread has worked meanwhile; otherwise the
        machine was busy with others. `tick_ns` is how long the watcher slept by its own wish.
        """
        now_ns, before_ns, looked_ns = time.monotonic_ns(), self._used_ns, self._looked_ns
        self._used_ns, self._looked_ns = self._cpu_ns(), now_ns
        late_ns = now_ns - max(looked_ns + tick_ns, self._answered_ns)
        if not self._answered_ns or late_ns < self._threshold_ns or frame is None or is_waiting_loop(frame):
            return None
        if self._used_ns - before_ns < self._threshold_ns // 2:
            return None
        who = blamed(frame)
        return Stall(late_ns, who) if who is not None else None

    def _cpu_ns(self) -> int:
        try:
            return time.clock_gettime_ns(self._clock)
        except OSError:  # the thread has ended
            return 0

    def _over(self, late_ns: int) -> Stall | None:
        # Late without being seen at work: the machine was busy with others.
        if late_ns < self._threshold_ns or not self._seen:
            return None
        return Stall(late_ns, self._seen.most_common(1)[0][0])
