"""One measurement: the command or the process, the profilers around it, what they say put together."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offloop.profiling import child, figures, target, watchers
from offloop.profiling.attached import Attached
from offloop.profiling.perf import Perf
from offloop.profiling.pyspy import PySpy
from offloop.profiling.signals import Signals
from offloop.profiling.tools import Recorder, Unavailable

# Stops itself, then becomes the command: perf is there before its first instruction.
_GATE = 'kill -STOP $$ && exec "$@"'
_STARTING_S = 3.0  # until a command is Python
_LAST_WORDS_S = 2.0
_LOOK_S = 0.1


class NothingSeen(Exception):
    """Nobody can look into the process; with the reasons."""


@dataclass(slots=True)
class Measured:
    """What was found; `exit_code` as a shell has it (128 + signal), 0 for a process that was only looked at."""

    profile: figures.Profile
    stacks: dict[str, float] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    exit_code: int = 0
    looked: list[str] = field(default_factory=list)  # who did, also where nothing was to be seen


def of_command(
    command: Sequence[str], *, seconds: float | None, native: bool, stall_ms: float, signals: Signals
) -> Measured:
    """Run the command to its end and measure it, at most for that many seconds."""
    with watchers.made_folder() as folder:
        measured = Measured(figures.Profile())
        environment = {**os.environ, child.FOLDER: str(folder), child.THRESHOLD: f"{stall_ms:g}"}
        started = subprocess.Popen(["/bin/sh", "-c", _GATE, "sh", *command], env=environment)
        signals.go_to(started)
        if _waits_at_the_gate(started):
            recorders = (Perf(folder.parent), PySpy(folder.parent, native, _STARTING_S))
            with _recording(recorders, started.pid, measured):
                started.send_signal(signal.SIGCONT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(seconds)
                    signals.reporting()
                watchers.ask_to_end(folder)
        code = started.wait()
        signals.reporting()
        measured.exit_code = code if code >= 0 else 128 - code
        watchers.wait_until_over(folder, _LAST_WORDS_S)
        return _finished(folder, measured)


def of_process(pid: int, *, seconds: float, native: bool, stall_ms: float, signals: Signals) -> Measured:
    """Look at a process that runs.

    :raises NothingSeen: nobody can look into it.
    """
    with watchers.made_folder() as folder:
        measured = Measured(figures.Profile())
        recorders = (
            Perf(folder.parent), PySpy(folder.parent, native, 2 * _LOOK_S), Attached(folder, seconds, stall_ms)
        )  # fmt: skip
        with _recording(recorders, pid, measured) as recording:
            until = time.monotonic() + seconds
            while (
                signals.came is None
                and (left := until - time.monotonic()) > 0
                and any(recorder.sees() for recorder in recording)
                and target.lives(pid)
            ):
                signals.wait(min(left, _LOOK_S))
            signals.reporting()
        if not measured.stacks and not set(measured.looked) - {Perf.name}:
            raise NothingSeen("; ".join(measured.gaps))
        if signals.came is not None:
            measured.exit_code = 128 + signals.came
        _finished(folder, measured)
        measured.profile = dataclasses.replace(measured.profile, attached=True)
        return measured


@contextlib.contextmanager
def _recording(recorders: Iterable[Recorder], pid: int, measured: Measured) -> Iterator[list[Recorder]]:
    """Those that could be started; at the end they are asked for what they saw, and have ended whatever happens."""
    with contextlib.ExitStack() as ends:
        started: list[Recorder] = []
        for recorder in recorders:
            try:
                recorder.start(pid)
            except Unavailable as reason:
                measured.gaps.append(str(reason))
                continue
            ends.callback(_stop, recorder, measured)
            started.append(recorder)
        yield started


def _stop(recorder: Recorder, measured: Measured) -> None:
    root = "core" if recorder.name == Perf.name else "Python"
    try:
        stacks = recorder.stop()
    except Unavailable as reason:
        measured.gaps.append(str(reason))
        return
    measured.looked.append(recorder.name)
    measured.stacks.update((f"{root};{stack}", seconds) for stack, seconds in stacks.items())


def _waits_at_the_gate(process: subprocess.Popen[bytes]) -> bool:
    """False: a signal has ended it there."""
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
    except ChildProcessError:  # whoever passed on the signal has seen it end
        return False
    if os.WIFSTOPPED(status):
        return True
    process.returncode = os.waitstatus_to_exitcode(status)
    return False


def _finished(folder: Path, measured: Measured) -> Measured:
    """With what the watchers say; their own stacks stand in where py-spy gave none."""
    measured.profile = figures.read(folder)
    if not any(stack.startswith("Python;") for stack in measured.stacks) and measured.profile.samples:
        measured.stacks.update((f"Python;{stack}", seconds) for stack, seconds in measured.profile.samples.items())
        measured.gaps.append("py-spy's exactness: the Python side is seen from inside, where threads give up the GIL")
    return measured
