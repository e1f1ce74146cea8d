"""Measures the contenders of a case: checks every answer, interleaves the rounds, survives who fails."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from offloop.bench.document import CaseDict
from offloop.bench.figures import case_document
from offloop.bench.machine import Noise
from offloop.bench.model import Case, Contender, Missing, Round, Running, Status
from offloop.bench.processes import Memory, cpu_seconds, resident_bytes


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is done.

    Attributes:
        warm_ups: rounds before the clock; the first is the check of the answers.
        repeats: timed rounds.
        probes: further rounds, in which latencies and the loop's stalls are looked at.
        seed: of the order, and of the intervals.
    """

    warm_ups: int
    repeats: int
    probes: int
    seed: int


@dataclass(slots=True)
class Measured:
    """What is known of one contender so far."""

    contender: Contender
    status: Status = "unmeasured"
    detail: str = ""
    seconds: list[float] = field(default_factory=list)  # of one burst
    cpu: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)

    def ends(self, status: Status, detail: str) -> None:
        """Take it out of the race; what was measured of it does not count."""
        self.status, self.detail = status, detail
        for values in (self.seconds, self.cpu, self.peaks, self.latencies, self.stalls):
            values.clear()


class CaseRun:
    """One case being measured. `document` may be asked at any time, also after a KeyboardInterrupt."""

    def __init__(self, case: Case, effort: Effort, noise: Noise, say: Callable[[str], None] | None = None) -> None:
        self._case = case
        self._effort = effort
        self._noise = noise
        self._say_words = say
        self._measured = [Measured(contender) for contender in case.contenders]
        self._memory = Memory()
        self._complete = False

    def run(self) -> None:
        """Measure everything. Only what ends a program (KeyboardInterrupt, ...) comes out of it."""
        with ExitStack() as stack:
            racing: list[tuple[Measured, Running]] = []
            for one in self._measured:
                self._say(one, "checking its answers")
                running = self._ready(one, stack)
                if running is not None:
                    racing.append((one, running))
            order = random.Random(self._effort.seed)
            kinds = ["warm-up"] * (self._effort.warm_ups - 1)
            kinds += ["timed"] * self._effort.repeats + ["probed"] * self._effort.probes
            for number, kind in enumerate(kinds, 1):
                order.shuffle(racing)
                for one, running in racing:
                    if one.status in ("ok", "unmeasured"):
                        self._say(one, f"round {number} of {len(kinds)}")
                        self._round(one, running, kind)
        self._complete = True

    def document(self) -> CaseDict:
        """What is known now."""
        return case_document(self._case, self._measured, complete=self._complete, seed=self._effort.seed)

    def _say(self, one: Measured, words: str) -> None:
        if self._say_words is not None:
            self._say_words(f"{self._case.task}, {self._case.name}: {one.contender.name}: {words}")

    def _ready(self, one: Measured, stack: ExitStack) -> Running | None:
        """Open it and check its answers; None when it does not take part."""
        try:
            running = stack.enter_context(one.contender.open(self._case.work))
            done = running.round(False)
        except Missing as gap:
            one.ends("missing", str(gap))
            return None
        except Exception as error:  # whatever a contender raises is a finding about it
            one.ends("failed", _words(error))
            return None
        return running if self._right(one, done) else None

    def _round(self, one: Measured, running: Running, kind: str) -> None:
        standing = resident_bytes(running.helpers) if running.standing else 0
        gc.collect()
        self._noise.sample()
        own = running.standing or not running.helpers
        self._memory.begin(running.helpers, own=own)
        cpu_before = cpu_seconds(running.helpers, own=own)
        try:
            done = running.round(kind == "probed")
        except Exception as error:
            one.ends("failed", _words(error))
            return
        cpu = cpu_seconds(running.helpers, own=own) - cpu_before
        grown = self._memory.grown()
        if not self._right(one, done) or kind == "warm-up":
            return
        if kind == "probed":
            one.latencies += done.latencies
            one.stalls += done.stalls
            return
        one.status = "ok"
        one.seconds.append(done.seconds / self._case.bursts)
        one.cpu.append(cpu / self._case.bursts)
        if grown is not None:
            one.peaks.append(grown + standing)

    def _right(self, one: Measured, done: Round) -> bool:
        if len(done.bursts) != self._case.bursts:
            one.ends("failed", f"did {len(done.bursts)} bursts, expected {self._case.bursts}")
            return False
        problem = self._case.wrong(one.contender, done)
        if problem is not None:
            one.ends("wrong", problem)
        return problem is None


def _words(error: BaseException) -> str:
    """An error in one line; of a group, its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
