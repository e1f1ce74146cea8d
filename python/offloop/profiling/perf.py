"""perf on the core's threads."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

from offloop.profiling import target
from offloop.profiling.tools import Recorder, Unavailable, ended, find, is_core_thread, last_line

HZ = 199
_HEAD = re.compile(r"^(?P<thread>\S.*?)\s+\d+\s*$")
_FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<symbol>.*) \((?P<object>[^()]*(?:\([^()]*\))?)\)$")


class Perf(Recorder):
    """Samples all threads of a process and of its children; by the clock where the CPU's counters are not to be had."""

    name = "perf"

    def __init__(self, folder: Path) -> None:
        self._data = folder / "perf.data"
        self._running: subprocess.Popen[bytes] | None = None
        self._program = ""
        self._pid = 0
        self._control: list[int] = []  # open as long as perf runs: it stops writing when they are closed

    def sees(self) -> bool:
        """Whether the process has threads of the core, which is all that is looked for."""
        return target.has_core_threads(self._pid)

    def start(self, pid: int) -> None:
        """Returns when it samples.

        :raises Unavailable: with the reason.
        """
        self._pid = pid
        self._program = find("perf") or ""
        if not self._program:
            raise Unavailable("perf is not installed (Debian's package: linux-perf)")
        counters = os.path.exists("/sys/bus/event_source/devices/cpu") or os.path.exists(
            "/sys/bus/event_source/devices/armv8_pmuv3_0"
        )
        for event in ["cycles", "cpu-clock"] if counters else ["cpu-clock"]:
            problem = self._try(pid, event)
            if problem is None:
                return
        raise Unavailable(f"perf cannot record: {problem}; see kernel.perf_event_paranoid")

    def _try(self, pid: int, event: str) -> str | None:
        """Start with that event; the reason where it fails."""
        command_end, command_ours = os.pipe()
        acknowledged, acknowledged_end = os.pipe()
        control = f"--control=fd:{command_end},{acknowledged_end}"
        what = ["-e", event, "-F", str(HZ), "--call-graph", "fp", "-p", str(pid)]
        arguments = ["record", "-q", *what, "-o", str(self._data), "-D", "-1", control]
        self._running = subprocess.Popen(
            [self._program, *arguments], pass_fds=(command_end, acknowledged_end), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0,
        )  # fmt: skip
        os.close(command_end)
        os.close(acknowledged_end)
        self._control = [command_ours, acknowledged]
        try:
            os.write(command_ours, b"enable\n")
            if os.read(acknowledged, 16).startswith(b"ack"):
                return None
        except BrokenPipeError:
            pass
        self._close_control()
        return last_line(self._running.communicate()[1]) or "it ended at once"

    def stop(self) -> dict[str, float]:
        """Seconds by folded stack, the core's threads only."""
        if self._running is None:
            return {}
        ended(self._running, signal.SIGINT)
        self._close_control()
        script = subprocess.run(
            [self._program, "script", "-i", str(self._data), "-F", "comm,tid,ip,sym,dso"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        self._data.unlink(missing_ok=True)
        return {stack: count / HZ for stack, count in folded(script.stdout).items()}

    def _close_control(self) -> None:
        for descriptor in self._control:
            os.close(descriptor)
        self._control = []


def folded(script: str) -> Counter[str]:
    """The stacks of ``perf script``, outermost first behind the name of the thread; the core's threads only."""
    stacks: Counter[str] = Counter()
    for block in script.split("\n\n"):
        lines = block.strip("\n").splitlines()
        head = _HEAD.match(lines[0]) if lines else None
        if head is None or not is_core_thread(head["thread"]):
            continue
        frames = [found for line in lines[1:] if (found := _FRAME.match(line))]
        stacks[";".join((head["thread"], *map(_shown, reversed(frames))))] += 1
    return stacks


def _shown(frame: re.Match[str]) -> str:
    """The function without its parameters, else the file it is in."""
    symbol = frame["symbol"]
    if symbol == "[unknown]":
        return f"[{os.path.basename(frame['object'].split(' ')[0])}]"
    return (
        re.sub(r"\(anonymous namespace\)::|^(non-)?virtual thunk to ", "", symbol).split("(")[0].replace(";", ",")
        or symbol
    )
