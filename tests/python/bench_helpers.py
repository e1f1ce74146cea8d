"""Contenders and results made by hand, for the tests of `offloop bench`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from offloop.bench.document import CaseDict, Document
from offloop.bench.figures import averages, case_document
from offloop.bench.model import Case, Contender, Missing, Round, Variant
from offloop.bench.runner import Measured
from offloop.bench.summary import sentences

ANSWERS = ["right", "right, too"]


class Scripted:
    """`Running` that answers and takes what it is told, round by round, and counts its rounds."""

    standing = True
    helpers: Sequence[int] = ()

    def __init__(self, answer: Callable[[int], Sequence[Any]], seconds: float = 0.25) -> None:
        self._answer = answer
        self._seconds = seconds
        self.rounds = 0
        self.closed = False

    def round(self, probe: bool) -> Round:
        self.rounds += 1
        given = self._answer(self.rounds)
        return Round(self._seconds, [given], [0.001, 0.002] if probe else [], [0.0, 0.003] if probe else [])


def scripted(
    name: str,
    running: Scripted | Exception,
    variant: Variant = "asyncio",
    *,
    classic: bool = False,
) -> Contender:
    """A contender that is that object, or whose opening raises that error."""

    @contextlib.contextmanager
    def open_(work: Any) -> Iterator[Scripted]:
        if isinstance(running, Exception):
            raise running
        yield running
        running.closed = True

    return Contender(name, variant, "as scripted", open_, classic=classic)


def right(round_number: int) -> Sequence[str]:
    return ANSWERS


def case_of(contenders: Sequence[Contender], name: str = "2 x 1 KB", task: str = "hash") -> Case:
    return Case(task, name, 2, 2000, 1, None, ANSWERS, contenders)


def measured_case(
    name: str, seconds: dict[str, Sequence[float]], *, task: str = "hash", items: int = 100, size: int = 1000
) -> CaseDict:
    """A case of the contenders "inline" (asyncio), "each" (hybrid) and "native", with these times of a burst."""
    variants: dict[str, Variant] = {"inline": "asyncio", "threads": "asyncio", "each": "hybrid", "native": "native"}
    rows = []
    for contender, times in seconds.items():
        one = Measured(Contender(contender, variants[contender], "by hand", _none, classic=contender != "threads"))
        one.status = "ok"
        one.seconds = list(times)
        one.latencies = list(times)
        one.stalls = list(times) if contender != "native" else []
        rows.append(one)
    for contender in ("absent",):
        gone = Measured(Contender(contender, "asyncio", "by hand", _none))
        gone.ends("missing", "it is not installed")
        rows.append(gone)
    case = Case(task, name, items, items * size, 1, None, [], [])
    return case_document(case, rows, complete=True, seed=1)


def document_of(cases: Sequence[CaseDict], **changes: Any) -> Document:
    """Results that hold these cases."""
    document = Document(
        schema=2,
        offloop="1.2.3",
        started="2026-01-02T03:04:05Z",
        seconds=1.0,
        complete=True,
        interrupted=False,
        form="full",
        settings={"seed": 1, "warm_ups": 3, "repeats": 5, "probes": 3},
        machine={
            "cpu": {"name": "a CPU", "model": "maker 1/2"}, "cores": 2, "governor": "performance",
            "widest_kernel": "SHA-NI x2", "threads": 2, "python": "CPython 3.14.0", "gil": True, "hashlib_openssl": "3",
            "offloop": "1.2.3", "compiler": "gcc", "abi": "abi3", "system": "Linux", "packages": {},
        },
        noise={"busy_before": 0.0, "busy_after": None, "steal_share": 0.0, "reference_spread": 1.0, "warnings": []},
        cases=list(cases),
        averages=averages(cases, 1),
        open_loop=[],
        scaling=[],
        sentences=[],
    )  # fmt: skip
    document.update(changes)  # type: ignore[typeddict-item]
    document["sentences"] = sentences(document)
    return document


def _none(work: Any) -> contextlib.AbstractContextManager[Any]:
    raise Missing("made by hand")
