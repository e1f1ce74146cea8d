"""The report's sentences, made from its data and from nothing else. Where the hybrid loses, they say so."""

from __future__ import annotations

from collections.abc import Iterator

from offloop.bench import words
from offloop.bench.document import CaseDict, ContenderDict, Document, SpeedupDict
from offloop.bench.figures import BEST, CLASSIC, KINDS, NATIVE


def sentences(document: Document) -> list[str]:
    """What the results say, in the order of importance."""
    return [
        *_ends(document),
        *_averages(document),
        *_losses(document),
        *_open_loop(document),
        *_stalls(document),
        *_scaling(document),
        *_bad(document),
        *_gaps(document),
        *(f"The machine was noisy: {warning}." for warning in document["noise"].get("warnings", [])),
    ]


def _ends(document: Document) -> Iterator[str]:
    if document["interrupted"]:
        begun = words.count(len(document["cases"]), "case")
        yield f"The run was interrupted after it had begun {begun}; the last is not complete."
    if document["form"] == "quick" and document["cases"]:
        yield "This is the quick form: few rounds, so the intervals are wide."


def _averages(document: Document) -> Iterator[str]:
    names = {
        CLASSIC: "hybrid against asyncio, both as people write them first",
        BEST: "hybrid against asyncio, the best contender of each",
        NATIVE: "hybrid against native",
    }
    for average in document["averages"]:
        over = words.count(average["cases"], "case") + (", geometric mean" if average["cases"] > 1 else "")
        yield (
            f"{average['task']}: {names[average['kind']]}: {words.times(average['geometric'])} over {over}"
            + (f" (arithmetic {average['arithmetic']:.2f}x)." if average["cases"] > 1 else ".")
        )


def _losses(document: Document) -> Iterator[str]:
    seen = False
    said: set[str] = set()
    for kind in KINDS:
        for case in document["cases"]:
            for speedup in case["speedups"]:
                if speedup["kind"] != kind:
                    continue
                seen = True
                words_of_loss = _loss(case, speedup)
                if words_of_loss and words_of_loss not in said:
                    said.add(words_of_loss)  # the best contenders may be those that people write first
                    yield words_of_loss
    if seen and not said:
        yield "The hybrid lost no case that was measured, neither against asyncio nor against native."


def _loss(case: CaseDict, speedup: SpeedupDict) -> str | None:
    ratio = speedup["ratio"]
    where = f"{case['task']}, {case['name']}: {speedup['fast']} against {speedup['slow']}"
    if ratio["high"] < 1:
        return f"The hybrid loses at {where}: {words.times(ratio)}."
    if ratio["median"] < 1 or ratio["low"] <= 1:
        return f"No gain is shown at {where}: {words.times(ratio)}."
    return None


def _open_loop(document: Document) -> Iterator[str]:
    """The lowest p99 of each side, for every rate."""
    rows = [row for row in document["open_loop"] if row["status"] == "ok" and row["latency"]]
    for task, case, rate in dict.fromkeys((row["task"], row["case"], row["rate"]) for row in rows):
        best = {}
        for variant in ("hybrid", "asyncio"):
            of = [row for row in rows if (row["case"], row["rate"], row["variant"]) == (case, rate, variant)]
            if of:
                best[variant] = min(of, key=lambda row: (row["unfinished"], row["latency"]["p99"]))
        if len(best) == 2:
            ours, theirs = best["hybrid"], best["asyncio"]
            loses = ours["latency"]["p99"] > theirs["latency"]["p99"]
            yield (
                f"Open loop, {task}, {case}, {words.rate(rate)}: p99 {words.seconds(ours['latency']['p99'])} by "
                f"{ours['contender']} ({ours['unfinished']} unfinished), {words.seconds(theirs['latency']['p99'])} by "
                f"{theirs['contender']} ({theirs['unfinished']} unfinished)" + (": the hybrid loses." if loses else ".")
            )


def _stalls(document: Document) -> Iterator[str]:
    """The worst stall of the contenders that people write first, at the case where asyncio's is longest."""
    worst: tuple[CaseDict, ContenderDict, ContenderDict] | None = None
    for case in document["cases"]:
        found = {row["variant"]: row for row in case["contenders"] if row["classic"] and row["stall"]}
        if {"asyncio", "hybrid"} <= found.keys() and (worst is None or _longest(found["asyncio"]) > _longest(worst[1])):
            worst = (case, found["asyncio"], found["hybrid"])
    if worst is not None:
        case, theirs, ours = worst
        yield (
            f"{theirs['name']} blocked the loop for up to {words.seconds(_longest(theirs))}, {ours['name']} for up to "
            f"{words.seconds(_longest(ours))} ({case['task']}, {case['name']})."
        )


def _longest(row: ContenderDict) -> float:
    return row["stall"]["longest"] if row["stall"] else 0.0


def _bad(document: Document) -> Iterator[str]:
    for case in document["cases"]:
        for row in case["contenders"]:
            if row["status"] == "wrong":
                yield f"WRONG: {row['name']} at {case['task']}, {case['name']}: {row['detail']}; it has no figures."
            elif row["status"] == "failed":
                yield f"FAILED: {row['name']} at {case['task']}, {case['name']}: {row['detail']}; it has no figures."


def _scaling(document: Document) -> Iterator[str]:
    rows = document["scaling"]
    if "scaling_failed" in document["settings"]:
        yield f"FAILED: scaling by threads: {document['settings']['scaling_failed']}."
    elif len(rows) > 1:
        first, last = rows[0]["gb_per_second"]["offloop"], rows[-1]["gb_per_second"]["offloop"]
        yield (
            f"From {rows[0]['threads']} to {rows[-1]['threads']} threads offloop's throughput becomes "
            f"{last / first:.2f}x ({first:.2f} to {last:.2f} GB/s)."
        )


def _gaps(document: Document) -> Iterator[str]:
    gaps: dict[str, list[str]] = {}
    for case in document["cases"]:
        for row in case["contenders"]:
            if row["status"] == "missing" and row["name"] not in gaps.setdefault(row["detail"], []):
                gaps[row["detail"]].append(row["name"])
    for reason, names in gaps.items():
        yield f"Left out: {'; '.join(names)}: {reason}."
