"""What `offloop bench` and the micro-benchmarks say of others: their CPU time just before, and what the host took."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from offloop.bench import machine
from offloop.bench.machine import BUSY_CPUS, Noise, busy_cpus

HZ = os.sysconf("SC_CLK_TCK")


class Kernel:
    """/proc/stat and the clocks as told: every sleep is a step of the script."""

    def __init__(self, stat: Path, steps: Sequence[dict[str, float]]) -> None:
        self._stat = stat
        self._steps = iter(steps)
        self._ticks = dict.fromkeys(
            ("user", "nice", "system", "idle", "iowait", "interrupts", "soft", "steal", "guest", "guest_nice"), 1000.0
        )
        self.now = self.own = 5.0
        self._write()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.take(**next(self._steps))

    def take(self, own: float = 0.0, **seconds: float) -> None:
        """CPU seconds of each kind, and of this process."""
        self.own += own
        for name, value in seconds.items():
            self._ticks[name] += value * HZ
        self._write()

    def _write(self) -> None:
        ticks = " ".join(str(round(value)) for value in self._ticks.values())
        self._stat.write_text(f"cpu  {ticks}\ncpu0 1 2 3 4\n")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    steps = [
        {"user": 0.25, "nice": 0.05, "system": 0.1, "soft": 0.1, "idle": 0.3, "iowait": 0.1, "steal": 0.1, "own": 0.1},
        {"idle": 1.0},
    ]
    told = Kernel(tmp_path / "stat", steps)
    monkeypatch.setattr(machine, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(machine.time, "sleep", told.sleep)
    monkeypatch.setattr(machine.time, "perf_counter", lambda: told.now)
    monkeypatch.setattr(machine.time, "process_time", lambda: told.own)
    yield told
    monkeypatch.undo()


def test_busy_is_all_that_is_neither_idle_nor_ones_own(kernel: Kernel) -> None:
    # 0.5 s: user, nice, system, soft and stolen 0.6 s, of which 0.1 s are this process's.
    assert busy_cpus(0.5) == pytest.approx(1.0)
    assert busy_cpus(0.5) == 0.0


def test_what_others_did_before_the_start_is_a_warning_and_what_has_ended_is_none(kernel: Kernel) -> None:
    noise = Noise()
    assert (noise.document()["busy_before"], noise.document()["busy_after"]) == (None, None)
    noise.begin()
    noise.end()
    told = noise.document()
    assert (told["busy_before"], told["busy_after"]) == (1.0, 0.0)
    assert told["warnings"] == ["others kept 1.0 CPUs busy before the start"]
    assert BUSY_CPUS < 1.0


def test_stolen_time_is_a_share_of_what_was_wanted_since_the_start(kernel: Kernel) -> None:
    noise = Noise()
    noise.begin()
    kernel.take(user=1.8, idle=7.0, steal=0.2, own=1.8)
    assert noise.steal_share == pytest.approx(0.1)
    assert noise.document()["warnings"][-1] == "10.0% of the CPU time went to other guests of the host"


def test_a_kernel_that_tells_nothing_gives_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)
    for text in (None, "", "cpu  1 2 3\n", "nothing of the kind"):
        if text is not None:
            (tmp_path / "stat").write_text(text)
        monkeypatch.setattr(machine, "_STAT", tmp_path / "stat")
        noise = Noise()
        noise.begin()
        told = noise.document()
        assert (told["busy_before"], told["steal_share"], told["warnings"]) == (0.0, 0.0, [])


def test_the_machine_itself_is_read() -> None:
    assert 0.0 <= busy_cpus(0.05) <= (os.cpu_count() or 1) + 1
