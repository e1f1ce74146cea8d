"""One measurement: the command or the process, the profilers around it, what they say put together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offloop.profiling import child, figures, perf, pyspy
from offloop.profiling.tools import Recorder, Unavailable

# Stops itself, then becomes the command: perf is there before its first instruction.
_GATE = 'kill -STOP $$ && exec "$@"'


@dataclass(slots=True)
class Measured:
    """What was found; `exit_code` as a shell has it (128 + signal), 0 for a process that was only looked at."""

    profile: figures.Profile
    stacks: dict[str, float] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    exit_code: int = 0


def of_command(command: Sequence[str], *, seconds: float | None, native: bool, stall_ms: float) -> Measured:
    """Run the command to its end and measure it, at most for that many seconds."""
    with tempfile.TemporaryDirectory(prefix="offloop-profile-") as name:
        folder = Path(name)
        environment = {**os.environ, child.FOLDER: name, child.THRESHOLD: f"{stall_ms:g}"}
        if seconds is not None:
            environment[child.SECONDS] = f"{seconds:g}"
        started = subprocess.Popen(["/bin/sh", "-c", _GATE, "sh", *command], env=environment)
        measured = Measured(figures.Profile())
        with _signals_are_the_commands(started):
            os.waitpid(started.pid, os.WUNTRACED)
            recorders = _start(started.pid, folder, native, measured)
            started.send_signal(signal.SIGCONT)
            if seconds is None:
                started.wait()
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(seconds)
            _stop(recorders, measured)
            code = started.wait()
        measured.exit_code = code if code >= 0 else 128 - code
        return _finished(folder, measured)


def of_process(pid: int, *, seconds: float, native: bool, stall_ms: float) -> Measured:
    """Look at a process that runs.

    :raises ProcessLookupError: there is none.
    """
    os.kill(pid, 0)
    with tempfile.TemporaryDirectory(prefix="offloop-profile-") as name:
        folder = Path(name)
        measured = Measured(figures.Profile())
        recorders = _start(pid, folder, native, measured)
        problem = _send_watcher(pid, folder, seconds, stall_ms)
        if problem:
            measured.gaps.append(problem)
        _wait_for(pid, seconds)
        _stop(recorders, measured)
        if not problem:
            _wait_until_written(folder, pid)
        return _finished(folder, measured)


def _start(pid: int, folder: Path, native: bool, measured: Measured) -> list[Recorder]:
    started: list[Recorder] = []
    for recorder in (perf.Perf(folder), pyspy.PySpy(folder, native)):
        try:
            recorder.start(pid)
            started.append(recorder)
        except Unavailable as reason:
            measured.gaps.append(str(reason))
    return started


def _stop(recorders: Sequence[Recorder], measured: Measured) -> None:
    for recorder in recorders:
        root = "core" if recorder.name == "perf" else "Python"
        try:
            for stack, seconds in recorder.stop().items():
                measured.stacks[f"{root};{stack}"] = seconds
        except Unavailable as reason:
            measured.gaps.append(str(reason))


def _finished(folder: Path, measured: Measured) -> Measured:
    """With what the watchers say; their own stacks stand in where py-spy gave none."""
    measured.profile = figures.read(folder)
    if not any(stack.startswith("Python;") for stack in measured.stacks) and measured.profile.samples:
        measured.stacks.update((f"Python;{stack}", seconds) for stack, seconds in measured.profile.samples.items())
        measured.gaps.append("py-spy's exactness: the Python side is seen from inside, where threads give up the GIL")
    return measured


def _send_watcher(pid: int, folder: Path, seconds: float, stall_ms: float) -> str:
    """Start the watcher in a process that runs already, where Python can (3.14, the same version); else why not."""
    remote_exec = getattr(sys, "remote_exec", None)
    if remote_exec is None:
        return "latencies and stalls of a process that runs already: offloop profile must run on Python 3.14 or later"
    script = folder / "watch.py"
    script.write_text(
        "import pathlib, offloop.profiling.child as child\n"
        f"child.watch(pathlib.Path({str(folder)!r}), {seconds!r}, {stall_ms!r})\n"
    )
    folder.chmod(0o755)
    try:
        remote_exec(pid, str(script))
    except (OSError, RuntimeError, ValueError) as error:
        return f"latencies and stalls of process {pid}: {error}"
    return ""


def _wait_for(pid: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return


def _wait_until_written(folder: Path, pid: int) -> None:
    until = time.monotonic() + 2.0
    while not (folder / f"process-{pid}.json").exists() and time.monotonic() < until:
        time.sleep(0.02)


@contextlib.contextmanager
def _signals_are_the_commands(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches the command through the terminal; we stay to report. SIGTERM is handed on."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM)),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
