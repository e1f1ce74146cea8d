"""Signals that come while something is measured: they end the measurement, and never us before the report."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from types import FrameType, TracebackType
from typing import Any

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OF_KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


class Signals:
    """A context in which SIGINT, SIGTERM, SIGHUP and SIGQUIT are noted instead of obeyed. Main thread only.

    A command that is measured gets them, too: from the terminal, which sends Ctrl-C to everybody in the foreground,
    else from us. When all is over but the report, a second one raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.came: int | None = None  # the first
        self._command: subprocess.Popen[bytes] | None = None
        self._reporting = False
        self._late = 0
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup = -1
        self._read = self._write = -1

    def __enter__(self) -> Signals:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _ASKING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)

    def go_to(self, command: subprocess.Popen[bytes]) -> None:
        """From now on the command gets them; at once what came before it was there."""
        self._command = command
        if self.came is not None:
            command.send_signal(self.came)

    def reporting(self) -> None:
        """Nothing is measured any more."""
        self._reporting = True

    def wait(self, seconds: float) -> None:
        """Until so much time has passed or a signal has come."""
        until = time.monotonic() + seconds
        while self.came is None and (left := until - time.monotonic()) > 0:
            if select.select([self._read], [], [], left)[0]:
                os.read(self._read, 64)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came is None:
            self.came = number
        if self._reporting:
            self._late += 1
            if self._late > 1:
                raise KeyboardInterrupt
        elif self._command is not None and not (number in _OF_KEYS and _in_the_foreground()):
            self._command.send_signal(number)


def _in_the_foreground() -> bool:
    """Whether a key of a terminal reaches us, and with us the command, which is in our process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
