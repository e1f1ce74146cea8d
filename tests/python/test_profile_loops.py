"""What the watcher of `offloop profile` makes of one loop, tick by tick; the test is the watcher."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from offloop.profiling.loops import Watch

THRESHOLD_NS = 20_000_000
TICK_NS = 5_000_000


class Watched:
    """A loop in a thread of its own that works when it is told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.call(lambda: None)  # it turns
        assert self.thread.ident is not None
        self.watch = Watch(self.loop, self.thread.ident, THRESHOLD_NS)
        self._working, self._go_on = threading.Event(), threading.Event()

    def call(self, function: object) -> None:
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (function(), done.set()))  # type: ignore[operator]
        assert done.wait(20)

    def ask(self) -> None:
        """A sign of life, asked for and given."""
        assert self.watch.ask()
        self.call(lambda: None)
        assert self.watch.answered

    def begin_to_work(self, cpu_ns: int) -> FrameType:
        """The frame in which the loop is, after so much CPU time there; it stays there until `end_work`."""
        self.loop.call_soon_threadsafe(work, cpu_ns, self._working, self._go_on)
        assert self._working.wait(20)
        return self.frame()

    def frame(self) -> FrameType:
        assert self.thread.ident is not None
        return sys._current_frames()[self.thread.ident]

    def end_work(self) -> None:
        self._go_on.set()
        self.call(lambda: None)

    def close(self) -> None:
        self._go_on.set()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


def work(cpu_ns: int, working: threading.Event, go_on: threading.Event) -> None:
    until = time.thread_time_ns() + cpu_ns
    while time.thread_time_ns() < until:
        pass
    working.set()
    go_on.wait(20)


@pytest.fixture
def watched() -> Iterator[Watched]:
    one = Watched()
    yield one
    one.close()


def test_a_loop_that_works_between_two_looks_is_blocked_wherever_the_watcher_was(watched: Watched) -> None:
    """Also when the watcher did not sleep then, but waited for the GIL to go on with what it does beside looking."""
    watched.ask()
    assert watched.watch.unasked(TICK_NS, watched.frame()) is None
    frame = watched.begin_to_work(2 * THRESHOLD_NS)
    stall = watched.watch.unasked(TICK_NS, frame)
    assert stall is not None
    assert stall.ns >= 2 * THRESHOLD_NS - TICK_NS
    assert stall.blamed.function == "work"
    assert stall.blamed.file == __file__
    assert watched.watch.unasked(TICK_NS, frame) is None  # once


def test_a_watcher_that_was_late_itself_blames_nobody_who_did_not_work(watched: Watched) -> None:
    watched.ask()
    frame = watched.begin_to_work(0)
    assert watched.watch.unasked(TICK_NS, frame) is None
    time.sleep(3 * THRESHOLD_NS / 1e9)
    assert watched.watch.unasked(TICK_NS, frame) is None


def test_no_sign_of_life_is_a_stall_when_the_loop_was_seen_at_work(watched: Watched) -> None:
    frame = watched.begin_to_work(0)
    assert watched.watch.ask()
    time.sleep(2 * THRESHOLD_NS / 1e9)
    assert watched.watch.look(frame) is None  # it goes on
    assert watched.watch.unasked(TICK_NS, frame) is None
    watched.end_work()
    stall = watched.watch.look(watched.frame())
    assert stall is not None
    assert stall.ns >= 2 * THRESHOLD_NS
    assert stall.blamed.call == "go_on.wait"


def test_an_answer_that_came_late_while_nobody_was_seen_at_work_is_no_stall(watched: Watched) -> None:
    watched.begin_to_work(0)
    assert watched.watch.ask()
    time.sleep(2 * THRESHOLD_NS / 1e9)
    watched.end_work()
    assert watched.watch.look(watched.frame()) is None
