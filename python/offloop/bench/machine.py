"""What the figures depend on: the machine, the versions, the settings, and how much else was going on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import ssl
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import offloop

# Above so many CPUs that others kept busy just before the start, somebody else's work is in the figures.
BUSY_CPUS = 0.2
# Of the CPU time that this machine wanted, so much went to other guests of the host.
BUSY_STEAL = 0.01
# The same work took so much longer in the slowest tenth of its rounds than in the fastest.
BUSY_SPREAD = 1.25

_STAT = Path("/proc/stat")
# For so long this process sleeps to see what the others do.
_LOOK_SECONDS = 0.5

PACKAGES = ("aiohttp", "blake3", "matplotlib", "pillow", "pyvips", "uvloop")


def cpu() -> dict[str, str]:
    """Name, and vendor family/model: virtual machines often hide the name."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines():
            key, _, value = line.partition(":")
            found[key.strip()] = value.strip()
    except OSError:
        pass
    name = found.get("model name") or platform.processor() or platform.machine()
    model = f"{found.get('vendor_id', '?')} {found.get('cpu family', '?')}/{found.get('model', '?')}"
    return {"name": name, "model": model}


def governor() -> str:
    """The frequency governor of the first CPU; virtual machines do not show it."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "not visible"


def halt_polling_us() -> float | None:
    """How long an idle virtual CPU looks for work before it tells the host that it sleeps (Linux's haltpoll governor,
    200 us by default): what a wake costs depends on it. None on a machine without."""
    try:
        return int(Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns").read_text()) / 1000
    except (OSError, ValueError):
        return None


def machine() -> dict[str, Any]:
    """Everything above in one dictionary of plain values."""
    build = offloop.build_info()
    settings = offloop.configure()
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "governor": governor(),
        "kernel_rates": build["rates"],
        "cpu_features": build["cpu_features"],
        "cpu_mode": build["cpu_mode"],
        "widest_kernel": build["kernels"][-1]["kernels"],
        "threads": settings["threads"],
        "max_pending": settings["max_pending"],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "hashlib_openssl": ssl.OPENSSL_VERSION,
        "offloop": offloop.__version__,
        "compiler": build["compiler"],
        "abi": build["abi"],
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "halt_polling_us": halt_polling_us(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def busy_cpus(seconds: float = _LOOK_SECONDS) -> float:
    """How many CPUs others kept busy while the caller slept for so long; 0.0 where the kernel does not tell.

    Others are all other processes of the machine, and other guests of its host: what is neither idle nor this process's
    own. Unlike the load average it forgets what ended before, such as the build that made what is measured now.
    """
    before, own, started = _ticks(), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    after, own, elapsed = _ticks(), time.process_time() - own, time.perf_counter() - started
    if before is None or after is None:
        return 0.0
    return max(0.0, ((after.busy - before.busy) / os.sysconf("SC_CLK_TCK") - own) / elapsed)


class Noise:
    """What others did just before and just after, what the host took away in between, and how evenly work was done.

    `begin` and `end` look for half a second each, and are for when nothing of one's own runs.
    """

    def __init__(self) -> None:
        self.busy_before: float | None = None  # until `begin`
        self.busy_after: float | None = None  # until `end`
        self._before = _ticks()
        self._reference: list[float] = []
        self._block = bytes(1_000_000)

    def begin(self) -> None:
        """Look before the start."""
        self.busy_before = round(busy_cpus(), 2)
        self._before = _ticks()

    def sample(self) -> None:
        """Do the reference work once: a millisecond of hashlib on this thread."""
        started = time.perf_counter()
        hashlib.sha256(self._block)
        self._reference.append(time.perf_counter() - started)

    def end(self) -> None:
        """Look after the end."""
        self.busy_after = round(busy_cpus(), 2)

    @property
    def steal_share(self) -> float:
        """Of the CPU time that this machine wanted since the start, so much went to other guests of its host."""
        now = _ticks()
        if self._before is None or now is None:
            return 0.0
        return (now.stolen - self._before.stolen) / max(1, now.busy - self._before.busy)

    def spread(self) -> float:
        """The 90th percentile of the reference work over its 10th; 1.0 while there is too little of it."""
        if len(self._reference) < 10:
            return 1.0
        tenths = statistics.quantiles(self._reference, n=10)
        return tenths[-1] / tenths[0]

    def document(self) -> dict[str, Any]:
        """The figures, and a warning in words for each that is too high."""
        steal, spread = self.steal_share, self.spread()
        warnings = []
        for when, busy in (("before the start", self.busy_before), ("after the end", self.busy_after)):
            if busy is not None and busy > BUSY_CPUS:
                warnings.append(f"others kept {busy:.1f} CPUs busy {when}")
        if steal > BUSY_STEAL:
            warnings.append(f"{steal:.1%} of the CPU time went to other guests of the host")
        if spread > BUSY_SPREAD:
            warnings.append(f"the same millisecond of work took {spread:.2f} times as long in the slowest tenth")
        return {
            "busy_before": self.busy_before,
            "busy_after": self.busy_after,
            "steal_share": steal,
            "reference_spread": spread,
            "warnings": warnings,
        }


class _Ticks(NamedTuple):
    """Of all CPUs since boot: `stolen` by other guests, and `busy`, stolen ones included."""

    stolen: int
    busy: int


def _ticks() -> _Ticks | None:
    try:
        fields = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, _idle, _iowait, interrupts, soft, stolen = fields
    except (OSError, ValueError):
        return None
    return _Ticks(stolen, user + nice + system + interrupts + soft + stolen)
