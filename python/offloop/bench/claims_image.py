"""The claims about a service that resizes pictures: what an open loop of the image tasks says about them."""

from __future__ import annotations

from typing import Any

from offloop.bench import words
from offloop.bench.document import Document

_TASKS = ("image", "fetch_image")
# What people write first, in the open loop, whose rows do not say who is "classic".
_FIRSTS = ("asyncio, Pillow inline", "aiohttp, Pillow inline", "offloop, await each")
# Whoever finishes so much of what is offered has no queue that grows.
_KEEPS_UP = 0.9
_ANY_RATIO = "its queue grows as long as the load lasts, the hybrid's does not, so any ratio can be had"
_NOT_MEASURED = "not measured here: `offloop bench --task image --rate N` does, with N between what both sides can do"


def _pair(document: Document) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The open-loop rows of what people write first, asyncio and hybrid, at the rate where their p99 differ most."""
    rows = [row for row in document["open_loop"] if row["task"] in _TASKS and row["contender"] in _FIRSTS]
    firsts = [row for row in rows if row["latency"]]  # who answered wrong has none
    pairs = [
        (theirs, ours)
        for theirs in firsts
        for ours in firsts
        if (theirs["variant"], ours["variant"]) == ("asyncio", "hybrid")
        and all(theirs[name] == ours[name] for name in ("task", "case", "rate", "arrivals"))
    ]
    return max(pairs, key=lambda pair: pair[0]["latency"]["p99"] / pair[1]["latency"]["p99"], default=None)


def p99(document: Document) -> str:
    """The p99 of both sides, of what has ended."""
    pair = _pair(document)
    if pair is None:
        return _NOT_MEASURED
    theirs, ours = pair
    return (
        f"from {words.seconds(theirs['latency']['p99'])} ({theirs['contender']}) to "
        f"{words.seconds(ours['latency']['p99'])} ({ours['contender']}) at {words.rate(ours['rate'])} offered "
        f"({ours['task']}, {ours['case']})"
    )


def errors(document: Document) -> str:
    """The share of what was offered that failed, or had not ended two seconds after the last arrival."""
    pair = _pair(document)
    if pair is None:
        return _NOT_MEASURED
    lost = [(row["failed"] + row["unfinished"]) / max(1, row["offered"]) for row in pair]
    return f"from {lost[0]:.2%} to {lost[1]:.2%} failed or unfinished, in the same run as the p99 above"


def possible(document: Document) -> str:
    """Judged by what both sides can do: in the open loop at that rate, or in a closed one."""
    pair = _pair(document)
    if pair is not None:
        theirs, ours = pair
        keeps_up = [row["finished_per_second"] >= _KEEPS_UP * row["rate"] for row in pair]
        if not keeps_up[1]:
            return f"no: {words.rate(ours['rate'])} is more than either of them can do"
        if keeps_up[0]:
            return f"both keep up with {words.rate(ours['rate'])}; beyond what asyncio can do any ratio can be had"
        return f"yes: {theirs['contender']} finished {words.rate(theirs['finished_per_second'])}; {_ANY_RATIO}"
    for case in document["cases"]:
        firsts = {row["variant"]: row["items_per_second"] for row in case["contenders"] if row["classic"]}
        theirs_can, ours_can = firsts.get("asyncio"), firsts.get("hybrid")
        if case["task"] in _TASKS and theirs_can and ours_can:
            if ours_can <= theirs_can:
                return f"no: at {case['name']} the hybrid is not the faster one"
            return (
                f"yes, between the {words.rate(theirs_can)} of asyncio and the {words.rate(ours_can)} of the hybrid "
                f"({case['name']}): there asyncio cannot keep up, {_ANY_RATIO}"
            )
    return "not judged without the image task"
