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
from typing import Any

import offloop

# Above so many runnable tasks before the start, somebody else's work is in the figures.
BUSY_LOAD = 0.5
# Of the CPU time that this machine wanted, so much went to other guests of the host.
BUSY_STEAL = 0.01
# The same work took so much longer in the slowest tenth of its rounds than in the fastest.
BUSY_SPREAD = 1.25

PACKAGES = ("aiohttp", "blake3", "matplotlib", "uvloop")


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


class Noise:
    """How much else went on from here on: load, stolen time, and how evenly the same work was done."""

    def __init__(self) -> None:
        self.load_before = os.getloadavg()[0]
        self._steal, self._total = _cpu_ticks()
        self._reference: list[float] = []
        self._block = bytes(1_000_000)

    def sample(self) -> None:
        """Do the reference work once: a millisecond of hashlib on this thread."""
        started = time.perf_counter()
        hashlib.sha256(self._block)
        self._reference.append(time.perf_counter() - started)

    def spread(self) -> float:
        """The 90th percentile of the reference work over its 10th; 1.0 while there is too little of it."""
        if len(self._reference) < 10:
            return 1.0
        tenths = statistics.quantiles(self._reference, n=10)
        return tenths[-1] / tenths[0]

    def document(self) -> dict[str, Any]:
        """The figures, and a warning in words for each that is too high."""
        steal, total = _cpu_ticks()
        share = (steal - self._steal) / max(1, total - self._total)
        spread = self.spread()
        warnings = []
        if self.load_before > BUSY_LOAD:
            warnings.append(f"{self.load_before:.1f} tasks were runnable before the start: somebody else's work")
        if share > BUSY_STEAL:
            warnings.append(f"{share:.1%} of the CPU time went to other guests of the host")
        if spread > BUSY_SPREAD:
            warnings.append(f"the same millisecond of work took {spread:.2f} times as long in the slowest tenth")
        return {
            "load_before": round(self.load_before, 2),
            "load_after": round(os.getloadavg()[0], 2),
            "steal_share": share,
            "reference_spread": spread,
            "warnings": warnings,
        }


def _cpu_ticks() -> tuple[int, int]:
    """Stolen and all ticks of all CPUs since boot; (0, 0) where they are not told."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except OSError:
        return 0, 0
    return (fields[7] if len(fields) > 7 else 0), sum(fields[:8])
