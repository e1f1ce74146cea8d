"""The watcher in a process that runs already: sent there by ``sys.remote_exec``, asked to end when the time is over."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from offloop.profiling import target, watchers
from offloop.profiling.tools import Recorder, Unavailable

_WHAT = "latencies and stalls"
_PATIENCE_S = 2.0  # for its last words

# Runs in the main thread of the process, in between two lines of its own: nothing may come out of it.
_SCRIPT = """\
def offloop_profile():
    import pathlib
    folder = pathlib.Path({folder!r})
    try:
        import offloop.profiling.child
        offloop.profiling.child.attach(folder, {seconds!r}, {stall_ms!r})
    except Exception as error:
        try:
            (folder / {refused!r}).write_text(f"{{type(error).__name__}}: {{error}}")
        except OSError:
            pass

offloop_profile()
"""
_REFUSED = "refused"


class Attached(Recorder):
    """The watcher of a process that was not started by us; what it finds it leaves in the folder (figures.read)."""

    name = "watcher"

    def __init__(self, folder: Path, seconds: float, stall_ms: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._stall_ms = stall_ms
        self._pid = 0

    def start(self, pid: int) -> None:
        """Returns at once: the process begins when its main thread next runs Python code.

        :raises Unavailable: with the reason.
        """
        self._pid = pid
        send = getattr(sys, "remote_exec", None)
        ours = target.own_python()
        if send is None:
            raise Unavailable(
                f"{_WHAT} of a process that runs already: offloop profile runs on Python {ours}, it takes 3.14 or "
                "later, and the same version in the process"
            )
        try:
            theirs = target.python_of(pid)
        except PermissionError as error:
            raise Unavailable(f"{_WHAT}: {error}") from None
        if not theirs:
            raise Unavailable(f"{_WHAT}: process {pid} ({target.program_of(pid)}) is not Python")
        if theirs != ours:
            needed = "it takes 3.14 or later on both sides" if _older(theirs) else f"use that of Python {theirs}"
            raise Unavailable(f"{_WHAT}: process {pid} runs on Python {theirs}, offloop profile on {ours}: {needed}")
        if not target.sees_our_files(pid):
            raise Unavailable(f"{_WHAT}: process {pid} is in a container: run offloop profile inside it")
        self._prepare()
        try:
            send(pid, str(self._script))
        except Exception as error:  # the interpreter names no classes
            raise Unavailable(f"{_WHAT}: Python cannot reach into process {pid}: {_words(error)}") from None

    def stop(self) -> dict[str, float]:
        """End it and wait for what it has to say; its stacks are among the figures.

        :raises Unavailable: it has not begun; with the reason.
        """
        watchers.ask_to_end(self._folder)
        if not self._began():
            self._withdraw()
        refused = self._refusal()
        if refused:
            raise Unavailable(f"{_WHAT}: process {self._pid} answered {refused}")
        if not self._began():
            raise Unavailable(
                f"{_WHAT}: the main thread of process {self._pid} ran no Python code meanwhile: "
                "it waits, or is in a native call"
            )
        watchers.wait_until_over(self._folder, _PATIENCE_S)
        return {}

    def sees(self) -> bool:
        """Whether it may still begin, or has."""
        return not self._refusal()

    @property
    def _script(self) -> Path:
        return self._folder / "watch.py"

    def _prepare(self) -> None:
        """The script, and a folder in which the user of the process may write."""
        words = _SCRIPT.format(
            folder=str(self._folder), seconds=self._seconds, stall_ms=self._stall_ms, refused=_REFUSED
        )
        self._script.write_text(words)
        user = target.user_of(self._pid)
        if os.geteuid() == 0 and user:
            os.chown(self._folder, user, -1)

    def _began(self) -> bool:
        return any(self._folder.glob("process-*.json"))

    def _refusal(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / _REFUSED).read_text().strip()
        return ""

    def _withdraw(self) -> None:
        """It may come to our script when that has long been gone: give it an empty one, which is there for ever."""
        send = getattr(sys, "remote_exec", None)
        if send is not None:
            with contextlib.suppress(Exception):  # it has ended
                send(self._pid, os.devnull)
        time.sleep(0.01)  # one that has just begun writes its first words


def _older(version: str) -> bool:
    return int(version.removesuffix("t").partition(".")[2]) < 14


def _words(error: BaseException) -> str:
    """What it says, and what that came from."""
    words = [str(error) or type(error).__name__]
    while (error := error.__cause__ or error.__context__) is not None:  # type: ignore[assignment]
        words.append(str(error))
    return ", ".join(words)
