"""The report's sentences, made from its data and from nothing else. Where the hybrid loses, they say so."""

from __future__ import annotations

from collections.abc import Iterator

from offloop.bench import words
from offloop.bench.document import CaseDict, Document, SpeedupDict
from offloop.bench.figures import BEST, CLASSIC, KINDS, NATIVE


def sentences(document: Document) -> list[str]:
    """What the results say, in the order of importance."""
    return [
        *_ends(document),
        *_averages(document),
        *_losses(document),
        *_stalls(document),
        *_bad(document),
        *_gaps(document),
        *(f"The machine was noisy: {warning}." for warning in document["noise"].get("warnings", [])),
    ]


def _ends(document: Document) -> Iterator[str]:
    if document["interrupted"]:
        yield f"The run was interrupted: {len(document['cases'])} cases were begun, the last one is not complete."
    if document["form"] == "quick" and document["cases"]:
        yield "This is the quick form: few rounds, so the intervals are wide."


def _averages(document: Document) -> Iterator[str]:
    names = {
        CLASSIC: "hybrid against asyncio, both as people write them first",
        BEST: "hybrid against asyncio, the best contender of each",
        NATIVE: "hybrid against native",
    }
    for average in document["averages"]:
        over = "1 case" if average["cases"] == 1 else f"{average['cases']} cases, geometric mean"
        yield (
            f"{average['task']}: {names[average['kind']]}: {words.times(average['geometric'])} over {over}"
            + (f" (arithmetic {average['arithmetic']:.2f}x)." if average["cases"] > 1 else ".")
        )


def _losses(document: Document) -> Iterator[str]:
    seen = False
    for kind in KINDS:
        for case in document["cases"]:
            for speedup in case["speedups"]:
                if speedup["kind"] != kind:
                    continue
                seen = True
                words_of_loss = _loss(case, speedup)
                if words_of_loss:
                    yield words_of_loss
    if seen and not any(_loss(case, speedup) for case in document["cases"] for speedup in case["speedups"]):
        yield "The hybrid lost no case that was measured, neither against asyncio nor against native."


def _loss(case: CaseDict, speedup: SpeedupDict) -> str | None:
    ratio = speedup["ratio"]
    where = f"{case['task']}, {case['name']}: {speedup['fast']} against {speedup['slow']}"
    if ratio["high"] < 1:
        return f"The hybrid loses at {where}: {words.times(ratio)}."
    if ratio["median"] < 1 or ratio["low"] <= 1:
        return f"No gain is shown at {where}: {words.times(ratio)}."
    return None


def _stalls(document: Document) -> Iterator[str]:
    """The worst stall of the classic contenders, at the case where asyncio's is longest."""
    worst = None
    for case in document["cases"]:
        found = {
            row["variant"]: row["stall"]["longest"] for row in case["contenders"] if row["classic"] and row["stall"]
        }
        if {"asyncio", "hybrid"} <= found.keys() and (worst is None or found["asyncio"] > worst[1]["asyncio"]):
            worst = (case, found)
    if worst is not None:
        case, found = worst
        yield (
            f"The loop was blocked for up to {words.seconds(found['asyncio'])} by asyncio with the work inline, "
            f"{words.seconds(found['hybrid'])} by the hybrid ({case['task']}, {case['name']})."
        )


def _bad(document: Document) -> Iterator[str]:
    for case in document["cases"]:
        for row in case["contenders"]:
            if row["status"] == "wrong":
                yield f"WRONG: {row['name']} at {case['task']}, {case['name']}: {row['detail']}; it has no figures."
            elif row["status"] == "failed":
                yield f"FAILED: {row['name']} at {case['task']}, {case['name']}: {row['detail']}; it has no figures."


def _gaps(document: Document) -> Iterator[str]:
    gaps: dict[str, list[str]] = {}
    for case in document["cases"]:
        for row in case["contenders"]:
            if row["status"] == "missing" and row["name"] not in gaps.setdefault(row["detail"], []):
                gaps[row["detail"]].append(row["name"])
    for reason, names in gaps.items():
        yield f"Left out: {'; '.join(names)}: {reason}."
