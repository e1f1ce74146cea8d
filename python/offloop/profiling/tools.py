"""What the outside profilers have in common: found, started, ended, or the reason why not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import Protocol

# See docs/guide/debug-native-errors.md. Python's threads have their names with the system, too, from 3.14 on: those of
# offloop's own in Python are none of the core's.
_CORE_THREAD = re.compile(r"offloop-(w\d+|write|read|poll|dns|io-\d+|decoder|native.*)$")


class Unavailable(Exception):
    """A tool is missing or not permitted; the words say which, and what to do."""


class Recorder(Protocol):
    """An outside profiler of one process."""

    name: str

    def start(self, pid: int) -> None:
        """Begin, or raise Unavailable."""

    def stop(self) -> dict[str, float]:
        """End; seconds by folded stack, or raise Unavailable. Nothing of it runs any more, whatever is raised."""

    def sees(self) -> bool:
        """Whether something may still come of it."""


def is_core_thread(name: str) -> bool:
    """Whether a thread of that name is one of the core's."""
    return _CORE_THREAD.match(name) is not None


def find(program: str) -> str | None:
    """Where the program is: in PATH, or beside this Python."""
    return shutil.which(program) or shutil.which(program, path=os.path.dirname(sys.executable))


def ended(process: subprocess.Popen[bytes], by: signal.Signals, patience_s: float = 20.0) -> str:
    """Ask a tool to end and write, wait for it; its last words. It has ended then, also when this raises."""
    if process.poll() is None:
        process.send_signal(by)
    try:
        return last_line(process.communicate(timeout=patience_s)[1])
    except subprocess.TimeoutExpired:
        process.kill()
        return last_line(process.communicate()[1])
    except BaseException:
        process.kill()
        process.wait()
        raise


def last_line(output: bytes | None) -> str:
    """What a tool said last."""
    lines = (output or b"").decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
