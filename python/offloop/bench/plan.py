"""What a run does: the options in one object, and the cases that they ask for, made one at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from offloop.bench.model import Case
from offloop.bench.runner import Effort

# In the order in which they run.
TASKS = ("hash", "small", "mixed", "fetch", "image", "fetch_image", "cancel")
QUICK_TASKS = ("hash", "fetch")

# Of the classic table: three warm-ups, five repeats.
FULL = {"warm_ups": 3, "repeats": 5, "probes": 3}
QUICK = {"warm_ups": 1, "repeats": 3, "probes": 1}
OPEN_LOOP_SECONDS, OPEN_LOOP_QUICK_SECONDS = 10.0, 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The command line, checked.

    Attributes:
        quick: the quick form of everything.
        tasks: which ones.
        seed: of payloads, orders and intervals.
        sizes: bytes, instead of the table's (hash, fetch).
        concurrency: so many items at a time instead of all (hash, image) or 64 (fetch, fetch_image).
        repeats: timed rounds instead of the form's.
        payloads: a folder of the user's files instead of random bytes (hash) or made photographs (image).
        urls: a file of the user's URLs instead of the local origin.
        call: "module:function" of the user's, which makes the task "call".
        data: the folder of files that it is called with.
        rates: items a second of the open loop; None for the closed one.
        arrivals, duration: how they arrive, and for how many seconds at each rate.
        only: parts of the contenders' names; empty for all.
    """

    quick: bool
    tasks: Sequence[str]
    seed: int = 1
    sizes: Sequence[int] | None = None
    concurrency: int | None = None
    repeats: int | None = None
    payloads: Path | None = None
    urls: Path | None = None
    call: str | None = None
    data: Path | None = None
    rates: Sequence[float] | None = None
    arrivals: Literal["constant", "poisson"] = "poisson"
    duration: float | None = None
    only: Sequence[str] = ()

    @property
    def open_loop_seconds(self) -> float:
        """At each rate."""
        return self.duration or (OPEN_LOOP_QUICK_SECONDS if self.quick else OPEN_LOOP_SECONDS)

    @property
    def scales(self) -> bool:
        """Whether throughput by threads is measured, too: with the hash task as it comes."""
        return "hash" in self.tasks and not (self.payloads or self.sizes or self.only or self.rates)

    @property
    def effort(self) -> Effort:
        """How often everything is done."""
        form = dict(QUICK if self.quick else FULL)
        if self.repeats is not None:
            form["repeats"] = self.repeats
        return Effort(**form, seed=self.seed)

    def document(self) -> dict[str, Any]:
        """As results.json has it."""
        given = asdict(self)
        for name in ("payloads", "urls", "data"):
            given[name] = None if given[name] is None else str(given[name])
        effort = self.effort
        return {**given, "warm_ups": effort.warm_ups, "repeats": effort.repeats, "probes": effort.probes}


def cases(plan: Plan) -> Generator[Case]:
    """The cases, each made when its turn comes: their payloads need not be in memory together.

    Close the iterator to end what serves them. Raises ValueError, in words for the user, when what was named cannot be
    read, or the origin does not come up.
    """
    try:
        for case in _all_cases(plan):
            chosen = [one for one in case.contenders if not plan.only or any(part in one.name for part in plan.only)]
            if chosen:
                yield replace(case, contenders=chosen)
    except (OSError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _all_cases(plan: Plan) -> Generator[Case]:
    # Here, for the command line asks this module for the names of tasks only.
    from offloop.bench.tasks import call as call_task
    from offloop.bench.tasks import cancel as cancel_task
    from offloop.bench.tasks import fetch as fetch_task
    from offloop.bench.tasks import fetch_image as fetch_image_task
    from offloop.bench.tasks import hash as hash_task
    from offloop.bench.tasks import image as image_task

    quick, seed, at_once = plan.quick, plan.seed, plan.concurrency
    for task in plan.tasks:
        if task == "hash" and plan.payloads is not None:
            yield hash_task.folder(plan.payloads, at_once)
        elif task == "hash":
            yield from hash_task.table(plan.sizes or hash_task.SIZES, quick=quick, seed=seed, at_once=at_once)
        elif task == "small":
            yield from hash_task.small(quick=quick, seed=seed, at_once=at_once)
        elif task == "mixed":
            yield hash_task.mixed(quick=quick, seed=seed, at_once=at_once)
        elif task == "fetch" and plan.urls is not None:
            yield fetch_task.listed(plan.urls, at_once)
        elif task == "fetch":
            yield from fetch_task.table(plan.sizes or hash_task.SIZES, quick=quick, seed=seed, at_once=at_once)
        elif task == "image" and plan.payloads is not None:
            yield image_task.folder(plan.payloads, at_once)
        elif task == "image":
            yield from image_task.table(quick=quick, seed=seed, at_once=at_once)
        elif task == "fetch_image" and plan.urls is not None:
            yield fetch_image_task.listed(plan.urls, at_once)
        elif task == "fetch_image":
            yield from fetch_image_task.table(quick=quick, seed=seed, at_once=at_once)
        elif task == "cancel":
            yield cancel_task.case(quick=quick)
        elif task == "call":
            assert plan.call is not None  # the command line has seen to it
            assert plan.data is not None
            yield call_task.case(plan.call, plan.data, at_once)
