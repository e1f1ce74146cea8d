"""CPU time and peak memory of this process and of those that work for a contender (Linux)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

_KIB = 1024


def cpu_seconds(helpers: Sequence[int] = (), *, own: bool = True) -> float:
    """User and system seconds so far of all threads of this process, and of the processes `helpers` that live."""
    total = time.process_time() if own else 0.0
    for pid in helpers:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += time.clock_gettime(_cpu_clock(pid))
    return total


def _cpu_clock(pid: int) -> int:
    """The clock id of a process's CPU time, as clock_getcpuclockid(3) makes it: in nanoseconds, threads included."""
    return (~pid << 3) | 2


class Memory:
    """Watches the peak of resident memory from `begin` to `grown`; None where the kernel does not tell.

    What is counted is what the contender adds: the growth of each process over what it held before.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def begin(self, helpers: Sequence[int] = (), *, own: bool = True) -> None:
        """Forget the peaks so far of the helpers, and with `own` of this process."""
        self._before = {}
        for pid in (*(("self",) if own else ()), *map(str, helpers)):
            with contextlib.suppress(OSError):
                (Path("/proc") / pid / "clear_refs").write_text("5")  # resets VmHWM
                self._before[pid] = _status_bytes(pid, "VmRSS")

    def grown(self) -> int | None:
        """Bytes above the start, over all processes that `begin` saw."""
        total = None
        for pid, before in self._before.items():
            with contextlib.suppress(OSError):
                total = (total or 0) + max(0, _status_bytes(pid, "VmHWM") - before)
        return total


def resident_bytes(pids: Sequence[int]) -> int:
    """Resident memory of those processes now; the ones that have ended count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += _status_bytes(str(pid), "VmRSS")
    return total


def _status_bytes(pid: str, name: str) -> int:
    for line in (Path("/proc") / pid / "status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * _KIB
    raise OSError(f"/proc/{pid}/status has no {name}")
