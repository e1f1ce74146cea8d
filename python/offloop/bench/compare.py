"""``offloop bench compare A.json B.json``: what became faster, what slower, and what so few rounds cannot tell.

Of each contender that both runs measured: the ratio of the medians with its bootstrap interval, and a permutation test
of the rounds, corrected for the number of comparisons (Benjamini and Hochberg). Both must say so, and the change must
be one that matters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from offloop.bench.document import Document
from offloop.bench.statistics import Interval, false_discovery, permutation_p, smallest_p, unpaired_ratio

Verdict = Literal["faster", "slower", "no difference shown", "too few rounds"]

ALPHA = 0.05
SMALLEST_CHANGE = 0.02  # below it a difference is one of machine code layout, not of the program


@dataclass(frozen=True, slots=True)
class Change:
    """One contender of one case in both runs. `ratio` is the new time over the old one: above 1 is slower."""

    task: str
    case: str
    contender: str
    ratio: Interval
    p: float
    adjusted_p: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that `compare` found; the lines of text are for people."""

    changes: list[Change]
    notes: list[str]
    only_in_one: list[str]
    differences: list[str]


def compare(old: Document, new: Document, *, alpha: float = ALPHA, smallest: float = SMALLEST_CHANGE) -> Comparison:
    """Compare two runs. The order of the changes is that of the new run."""
    before, after = _measured(old), _measured(new)
    both = [key for key in after if key in before]
    p_values = [permutation_p(before[key], after[key]) for key in both]
    adjusted = false_discovery(p_values)
    changes = []
    for key, p, adjusted_p in zip(both, p_values, adjusted, strict=True):
        ratio = unpaired_ratio(after[key], before[key])
        verdict = _verdict(ratio, adjusted_p, len(before[key]), len(after[key]), alpha, smallest)
        changes.append(Change(*key, ratio, p, adjusted_p, verdict))
    only = [f"only in the old run: {', '.join(key)}" for key in before if key not in after]
    only += [f"only in the new run: {', '.join(key)}" for key in after if key not in before]
    notes = list(
        _power(min((smallest_p(len(before[key]), len(after[key])) for key in both), default=0.0), len(both), alpha)
    )
    return Comparison(changes, notes, only, _differences(old, new))


def _power(least_p: float, comparisons: int, alpha: float) -> Iterator[str]:
    """Says when a change of one contender alone could not be shown, and how many rounds could."""
    if least_p * comparisons <= alpha:
        return
    rounds = next(n for n in itertools.count(2) if smallest_p(n, n) * comparisons <= alpha)
    yield (
        f"among {comparisons} comparisons so few rounds cannot show that one contender alone changed; "
        f"--repeats {rounds} in both runs can"
    )


def _verdict(ratio: Interval, p: float, old: int, new: int, alpha: float, smallest: float) -> Verdict:
    if smallest_p(old, new) > alpha:
        return "too few rounds"
    if p > alpha or ratio.low <= 1 <= ratio.high or abs(ratio.median - 1) < smallest:
        return "no difference shown"
    return "slower" if ratio.median > 1 else "faster"


def _measured(document: Document) -> dict[tuple[str, str, str], Sequence[float]]:
    return {
        (case["task"], case["name"], row["name"]): row["seconds"]
        for case in document["cases"]
        for row in case["contenders"]
        if row["status"] == "ok" and row["seconds"]
    }


def _differences(old: Document, new: Document) -> list[str]:
    """What else differs and may be the cause: machine, versions, settings, noise."""
    lines = []
    for name in sorted(old["machine"].keys() | new["machine"].keys()):
        before, after = old["machine"].get(name), new["machine"].get(name)
        if before != after and name != "kernel_rates":
            lines.append(f"{name}: {_short(before)} → {_short(after)}")
    for name in ("form", "complete"):
        if old[name] != new[name]:  # type: ignore[literal-required]  # both are keys of a Document
            lines.append(f"{name}: {old[name]} → {new[name]}")  # type: ignore[literal-required]
    for which, document in (("old", old), ("new", new)):
        lines += [f"the {which} run was noisy: {warning}" for warning in document["noise"].get("warnings", [])]
    return lines


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
