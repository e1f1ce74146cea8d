"""The words of the suite: contenders, what they work on, what one round of one gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Variant = Literal["asyncio", "native", "hybrid", "other"]
# A round that takes longer hangs: its contender has failed.
ROUND_SECONDS = 300.0

# "unmeasured": the run was interrupted before the first timed round.
Status = Literal["ok", "missing", "failed", "wrong", "unmeasured"]


class Missing(Exception):
    """A contender cannot take part on this machine; the message says what it lacks. A named gap, not an error."""


@dataclass(slots=True)
class Round:
    """What one round of one contender gave.

    Attributes:
        seconds: of all bursts together, without preparing and checking.
        bursts: the answers of each burst, in the order of the items.
        latencies: seconds from when each item was due to its answer; only in probed rounds.
        stalls: how late the loop was, in seconds, whenever it was looked at; only in probed rounds on a loop.
    """

    seconds: float
    bursts: list[Sequence[Any]]
    latencies: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)


class Running(Protocol):
    """A contender that is ready: pools started, connections open."""

    @property
    def helpers(self) -> Sequence[int]:
        """Processes that work for it: their CPU time is its own."""

    @property
    def standing(self) -> bool:
        """Whether the helpers' whole memory counts, for they exist for this contender alone (else: its growth)."""

    def round(self, probe: bool) -> Round:
        """Do all of the work once; with `probe` also look at latencies and at the loop."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: unique within its task.
        variant: whose side it is on. "other" does not take part in the speed-ups.
        settings: at what it runs, for the report: its best documented setting.
        open: makes it ready for the work of a case. Raises Missing when something is not there.
        classic: whether it stands for its variant in the classic comparison: what people write first.
        answers: what it must answer instead of the case's own answers; for functions that are no drop-in.
    """

    name: str
    variant: Variant
    settings: str
    open: Callable[[Any], AbstractContextManager[Running]]
    classic: bool = False
    answers: Callable[[Any], Sequence[Any]] | None = None


# What is wrong with an answer beside the right one, in words; None when nothing is.
Judge = Callable[[Any, Any], str | None]


def unequal(answer: Any, right: Any) -> str | None:
    """The judge of answers of which there is one right one."""
    return None if answer == right else f"is {answer!r}, expected {right!r}"


@dataclass(frozen=True, slots=True)
class Case:
    """One size of a task.

    Attributes:
        task, name: what it is called.
        items: how many a burst has; None where one burst is one event (cancellation).
        total_bytes: of one burst; 0 where bytes say nothing.
        bursts: how many make a round, so that it lasts long enough for the clock.
        work: what contenders get; it knows the payloads or URLs.
        expected: the right answers of a burst, by another way than any contender's.
        contenders: in no order that matters.
        average: whether its speed-ups belong into the average of the task.
        judge: compares an answer with the expected one. It sees every answer of every round, outside of the clock (in
            the open loop inside): what it has found right once it must know again by a glance.
    """

    task: str
    name: str
    items: int
    total_bytes: int
    bursts: int
    work: Any
    expected: Sequence[Any]
    contenders: Sequence[Contender]
    average: bool = True
    judge: Judge = unequal

    def expected_of(self, contender: Contender) -> Sequence[Any]:
        """What that contender must answer in a burst."""
        return contender.answers(self.work) if contender.answers else self.expected

    def wrong(self, contender: Contender, done: Round) -> str | None:
        """The first thing that is wrong with the answers of a round, in words; None when they are right."""
        expected = self.expected_of(contender)
        return next((words for answers in done.bursts if (words := wrong(answers, expected, self.judge))), None)


def wrong(answers: Sequence[Any], expected: Sequence[Any], judge: Judge = unequal) -> str | None:
    """What is wrong with the answers of one burst, in words; None when they are right."""
    if len(answers) != len(expected):
        return f"gave {len(answers)} answers, expected {len(expected)}"
    for index, (answer, right) in enumerate(zip(answers, expected, strict=True)):
        try:
            problem = judge(answer, right)
        except Exception as error:  # the answers of a user's function may be of any type
            return f"answer {index} cannot be compared: {type(error).__name__}: {error}"
        if problem is not None:
            return f"answer {index} {problem}"
    return None
