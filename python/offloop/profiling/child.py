"""The watcher inside the measured process: loop stalls, the pool's occupancy, stacks of the Python threads.

``import offloop`` starts it where ``OFFLOOP_PROFILE`` names a folder, as ``offloop profile`` does. It is a daemon
thread that wakes every 5 ms; what it has found it writes to ``process-PID.json`` there, every second and at exit.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from offloop.profiling.blame import folded, is_idle
from offloop.profiling.loops import Stall, Watch, running_loops

FOLDER = "OFFLOOP_PROFILE"
#: what counts as a stall, in milliseconds
THRESHOLD = "OFFLOOP_PROFILE_STALL_MS"

#: a file of that name in the folder: all who write there are to end
END = "end"

_TICK_S = 0.005
_SAMPLE_EVERY = 2  # ticks: 100 stacks a second
_POOL_EVERY = 4
_ASK_EVERY = 10  # ticks
_WRITE_EVERY_S = 1.0
_MOST_POINTS = 2000
_PR_SET_PTRACER, _ANY = 0x59616D61, -1


class Watcher(threading.Thread):
    """Watches this process until `finish`, until it is asked to end, or for so many seconds."""

    def __init__(self, folder: Path, seconds: float | None, threshold_ms: float) -> None:
        super().__init__(name="offloop-profile", daemon=True)
        self._path = folder / f"process-{os.getpid()}.json"
        self._asked = folder / END
        self._seconds = seconds
        self._threshold_ns = int(threshold_ms * 1e6)
        self._end = threading.Event()
        self._watches: dict[int, Watch] = {}  # by thread
        self._stalls: list[Stall] = []
        self._samples: Counter[str] = Counter()
        self._pool: list[tuple[int, int, int, int, int]] = []  # ns, threads, awake, queued, parked
        self._pool_step = 1
        self._loops = 0
        # Here, not by the thread: what ends before that gets its turn counts.
        self._before = _stats()
        self._began_ns = time.monotonic_ns()

    def run(self) -> None:
        """The thread."""
        from offloop import stats  # waits for the import that has started us

        self._write(self._before)  # it is seen that somebody watches
        written_s, ticks = time.monotonic(), 0
        while not self._end.wait(_TICK_S):
            self._look(ticks)
            if ticks % (_POOL_EVERY * self._pool_step) == 0:
                self._note_pool(stats())
            if time.monotonic() - written_s > _WRITE_EVERY_S:
                written_s = time.monotonic()
                self._write(stats())
            if self._seconds is not None and (time.monotonic_ns() - self._began_ns) / 1e9 > self._seconds:
                break
            ticks += 1
            if ticks % _ASK_EVERY == 0 and self._asked.exists():
                break
        self._write(stats(), over=True)
        if not self._end.is_set():
            atexit.unregister(self.finish)

    def finish(self) -> None:
        """Write what there is and end."""
        self._end.set()
        if self.is_alive() and self is not threading.current_thread():
            self.join(2.0)

    def _look(self, ticks: int) -> None:
        frames = sys._current_frames()
        frames.pop(threading.get_ident(), None)
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for thread, watch in list(self._watches.items()):
            frame = frames.get(thread)
            answered = watch.answered
            for stall in (watch.look(frame), watch.unasked(int(_TICK_S * 1e9), frame)):
                if stall is not None:
                    self._note(stall)
            if not watch.loop.is_running() or (answered and not watch.ask()):
                del self._watches[thread]
        if not self._watches or ticks % 10 == 0:
            self._find_loops(frames)
        if ticks % _SAMPLE_EVERY == 0:
            for thread, frame in frames.items():
                if not is_idle(frame):
                    self._samples[folded(frame, names.get(thread, "thread"))] += 1

    def _find_loops(self, frames: dict[int, Any]) -> None:
        for thread, loop in running_loops(frames):
            known = self._watches.get(thread)
            if known is None or known.loop is not loop:
                watch = Watch(loop, thread, self._threshold_ns)
                if loop.is_running() and watch.ask():
                    self._watches[thread] = watch
                    self._loops += 1

    def _note(self, stall: Stall) -> None:
        self._stalls.append(stall)
        if len(self._stalls) > _MOST_POINTS:
            self._stalls = sorted(self._stalls, reverse=True)[: _MOST_POINTS // 2]

    def _note_pool(self, stats: dict[str, Any]) -> None:
        threads = stats["threads"]
        awake = threads - min(stats["sleeping"], threads)
        self._pool.append((time.monotonic_ns() - self._began_ns, threads, awake, stats["queued"], stats["parked"]))
        if len(self._pool) >= _MOST_POINTS:
            del self._pool[::2]
            self._pool_step *= 2

    def _write(self, after: dict[str, Any], *, over: bool = False) -> None:
        document = {
            "pid": os.getpid(),
            "over": over,
            "command": sys.orig_argv,
            "seconds": (time.monotonic_ns() - self._began_ns) / 1e9,
            "loops": self._loops,
            "stall_threshold_ms": self._threshold_ns / 1e6,
            "stalls": [{"ms": stall.ns / 1e6, **stall.blamed._asdict()} for stall in self._stalls],
            "before": self._before,
            "after": after,
            "pool": self._pool,
            "samples": dict(self._samples),
            "samples_a_second": 1 / (_TICK_S * _SAMPLE_EVERY),
            "cpus": len(os.sched_getaffinity(0)),
        }
        part = self._path.with_suffix(".part")
        try:
            part.write_text(json.dumps(document))
            part.rename(self._path)
        except OSError:
            self._end.set()  # the folder is gone: nobody wants it any more


def _stats() -> dict[str, Any]:
    from offloop import stats

    return stats()


_watcher: Watcher | None = None


def start() -> None:
    """Start watching as the environment says. Called by ``import offloop``, and in every forked child."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    _let_be_traced()
    _watch(Path(folder), None, float(os.environ.get(THRESHOLD, 20)))
    os.register_at_fork(after_in_child=_restart)


def attach(folder: Path, seconds: float, threshold_ms: float) -> None:
    """Start watching this process, which runs already. Sent into it by ``offloop profile --pid``.

    :raises RuntimeError: somebody watches it already.
    """
    if _watcher is not None and _watcher.is_alive():
        raise RuntimeError("another offloop profile is looking at it")
    _watch(folder, seconds, threshold_ms)


def _watch(folder: Path, seconds: float | None, threshold_ms: float) -> None:
    global _watcher
    _watcher = Watcher(folder, seconds, threshold_ms)
    atexit.register(_watcher.finish)
    _watcher.start()


def _restart() -> None:
    if _watcher is not None:
        _let_be_traced()
        _watch(_watcher._path.parent, None, _watcher._threshold_ns / 1e6)


def _let_be_traced() -> None:
    """Where only parents may trace (Yama), py-spy beside us may: it was started by the same user on purpose."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_long(_ANY), 0, 0, 0)
    except (OSError, AttributeError):
        pass
