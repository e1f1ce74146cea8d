"""py-spy on the Python threads."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from offloop.profiling.tools import Recorder, Unavailable, find, last_line

HZ = 100
_WATCHER = "profiling/child.py"
_PROCESS = re.compile(r'(process \d+):"')


class PySpy(Recorder):
    """Samples the Python threads that run; with ``native`` the frames of extension modules, too."""

    name = "py-spy"

    def __init__(self, folder: Path, native: bool, patience_s: float) -> None:
        """:param patience_s: for so long try again: a process that has just been started is not Python yet."""
        self._output = folder / "py-spy.txt"
        self._native = native
        self._program = ""
        self._running: subprocess.Popen[bytes] | None = None
        self._trying: threading.Thread | None = None
        self._patience_s = patience_s
        self._starting = threading.Lock()  # around what starts one, and what ends it for good
        self._stopped = threading.Event()
        self.problem = ""

    def start(self, pid: int) -> None:
        """Begins in the background: it may take a moment until there is a Python to look at.

        :raises Unavailable: it is not installed.
        """
        self._program = find("py-spy") or ""
        if not self._program:
            raise Unavailable("py-spy is not installed: pip install 'offloop[profile]'")
        self._trying = threading.Thread(target=self._try, args=(pid,), name="offloop-py-spy", daemon=True)
        self._trying.start()

    def sees(self) -> bool:
        """Whether it looks, or tries to."""
        return self._trying is not None and self._trying.is_alive()

    def _try(self, pid: int) -> None:
        until = time.monotonic() + self._patience_s
        what = ["--pid", str(pid), "--subprocesses", "--rate", str(HZ), *(["--native"] if self._native else [])]
        arguments = ["record", *what, "--format", "raw", "--output", str(self._output)]
        while True:
            with self._starting:
                if self._stopped.is_set():
                    return
                self._running = subprocess.Popen(
                    [self._program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, process_group=0,
                )  # fmt: skip
            error = last_line(self._running.communicate()[1])
            if self._running.returncode == 0 or self._output.exists():
                return
            self.problem = error or "it ended at once"
            if time.monotonic() > until or "ermission" in error or self._stopped.wait(0.1):
                return

    def stop(self) -> dict[str, float]:
        """Seconds by folded stack.

        :raises Unavailable: it saw nothing; with its reason.
        """
        with self._starting:
            self._stopped.set()
        try:
            if self._running is not None:
                self._running.send_signal(signal.SIGINT)  # nothing to one that has ended
            if self._trying is not None:
                self._trying.join(20.0)
        finally:
            if self._running is not None:
                self._running.kill()
                self._running.wait()
        text = self._output.read_text(errors="replace") if self._output.exists() else ""
        self._output.unlink(missing_ok=True)
        stacks = folded(text)
        if not stacks and self.problem:
            raise Unavailable(f"py-spy cannot look into the process: {self.problem}")
        return {stack: count / HZ for stack, count in stacks.items()}


def folded(text: str) -> dict[str, int]:
    """The stacks of py-spy's raw format: frames, a blank, a number. Without those of the watcher."""
    stacks: dict[str, int] = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack or not count.isdigit() or _WATCHER in stack:
            continue
        name = ";".join(_without_arguments(stack.split(";")))
        stacks[name] = stacks.get(name, 0) + int(count)
    return stacks


def _without_arguments(parts: list[str]) -> Iterator[str]:
    """``process 42:"python -c 'a; b'"`` becomes ``process 42``: its arguments may be anything."""
    inside = False
    for part in parts:
        head = None if inside else _PROCESS.match(part)
        if head:
            yield head[1]
        elif not inside:
            yield part
        inside = (inside or head is not None) and not part.endswith('"')
