"""The plots of the report, by matplotlib, as SVG to put into a page: text is drawn as paths, nothing is loaded."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from offloop.bench import words
from offloop.bench.document import CaseDict, ContenderDict, Document
from offloop.bench.figures import KINDS
from offloop.bench.model import Missing

_WIDTH, _HEIGHT = 8.0, 4.2  # inches
# In every plot the sides have the same colours; contenders of one side differ by their lines.
_COLOURS = {"asyncio": "#c0504d", "hybrid": "#1f6fb4", "native": "#3a8f3a", "other": "#8a6db0"}
_LINES = ("-", "--", "-.", ":")


def plots(document: Document) -> Iterator[tuple[str, str]]:
    """(title, SVG) of each plot for which there are results. Raises Missing when matplotlib is not installed."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise Missing("matplotlib is not installed (pip install 'offloop[bench]')") from None
    settings: Any = {"svg.fonttype": "path", "svg.hashsalt": "offloop", "font.size": 9}

    def drawn(title: str, draw: Callable[[Any], bool]) -> Iterator[tuple[str, str]]:
        with matplotlib.rc_context(settings):
            figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
            axes = figure.add_subplot()
            if draw(axes):
                out = io.StringIO()
                figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
                yield title, _embeddable(out.getvalue())

    for task in dict.fromkeys(case["task"] for case in document["cases"]):
        cases = [case for case in document["cases"] if case["task"] == task]
        yield from drawn(f"{task}: throughput by size", partial(_throughput, cases=cases))
        yield from drawn(f"{task}: speed-up", partial(_speedup, cases=cases))
        yield from drawn(f"{task}: latency of an item, {cases[-1]['name']}", partial(_latency, case=cases[-1]))
        yield from drawn(f"{task}: longest stall of the loop", partial(_stalls, cases=cases))
    yield from drawn("scaling by threads", partial(_scaling, rows=document["scaling"]))
    for (task, case), rows in words.by_case(document["open_loop"]).items():
        yield from drawn(f"open loop: {task}, {case}: p99 by offered rate", partial(_open_loop, rows=rows))


def _embeddable(svg: str) -> str:
    """Without what stands before <svg> and without metadata, which name addresses."""
    svg = svg[svg.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def _named(cases: Sequence[CaseDict]) -> list[tuple[str, str, list[tuple[CaseDict, ContenderDict]]]]:
    """(contender, variant, its measured rows), in order of appearance."""
    found: dict[tuple[str, str], list[tuple[CaseDict, ContenderDict]]] = {}
    for case in cases:
        for row in case["contenders"]:
            if row["time"] is not None:
                found.setdefault((row["name"], row["variant"]), []).append((case, row))
    return [(name, variant, rows) for (name, variant), rows in found.items()]


def _style(variant: str, seen: dict[str, int]) -> dict[str, Any]:
    number = seen[variant] = seen.get(variant, -1) + 1
    return {"color": _COLOURS[variant], "linestyle": _LINES[number % len(_LINES)], "marker": "os^D"[number // 4 % 4]}


def _legend(axes: Any) -> None:
    if not axes.get_legend_handles_labels()[0]:
        return  # nothing was drawn
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.grid(True, which="major", alpha=0.3)


def _throughput(axes: Any, cases: Sequence[CaseDict]) -> bool:
    sized = [case for case in cases if case["total_bytes"]]
    if len(sized) < 2:
        return False
    seen: dict[str, int] = {}
    for name, variant, rows in _named(sized):
        sizes = [case["total_bytes"] / case["items"] for case, _ in rows]
        axes.plot(sizes, [row["gb_per_second"] for _, row in rows], label=name, markersize=3, **_style(variant, seen))
    axes.set(xscale="log", yscale="log", xlabel="bytes of an item", ylabel="GB/s")
    _legend(axes)
    return True


def _speedup(axes: Any, cases: Sequence[CaseDict]) -> bool:
    drawn = False
    width = 0.8 / len(KINDS)
    for number, kind in enumerate(KINDS):
        bars = [
            (place, speedup["ratio"])
            for place, case in enumerate(cases)
            for speedup in case["speedups"]
            if speedup["kind"] == kind
        ]
        if not bars:
            continue
        drawn = True
        errors = [
            [max(0.0, ratio["median"] - ratio["low"]) for _, ratio in bars],
            [max(0.0, ratio["high"] - ratio["median"]) for _, ratio in bars],
        ]
        places = [place + (number - 1) * width for place, _ in bars]
        axes.bar(places, [ratio["median"] for _, ratio in bars], width, yerr=errors, capsize=2, label=kind)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(cases)), [case["name"] for case in cases], rotation=15, ha="right")
    axes.set(ylabel="times as fast (above 1: the hybrid wins)")
    _legend(axes)
    return drawn


def _latency(axes: Any, case: CaseDict) -> bool:
    seen: dict[str, int] = {}
    drawn = False
    for name, variant, rows in _named([case]):
        latency = rows[0][1]["latency"]
        if latency is None:
            continue
        drawn = True
        points = [(1 / (1 - share), seconds) for share, seconds in latency["histogram"] if share < 1]
        axes.plot(
            [x for x, _ in points], [y * 1e3 for _, y in points], label=name, markersize=3, **_style(variant, seen)
        )
    axes.set(xscale="log", yscale="log", xlabel="quantile", ylabel="ms")
    axes.set_xticks([1, 2, 10, 100, 1000], ["min", "p50", "p90", "p99", "p99.9"])
    _legend(axes)
    return drawn


def _stalls(axes: Any, cases: Sequence[CaseDict]) -> bool:
    seen: dict[str, int] = {}
    drawn = False
    for name, variant, rows in _named(cases):
        points = [(cases.index(case), row["stall"]["longest"] * 1e3) for case, row in rows if row["stall"]]
        if points:
            drawn = True
            axes.plot([x for x, _ in points], [y for _, y in points], label=name, markersize=4, **_style(variant, seen))
    axes.set_xticks(range(len(cases)), [case["name"] for case in cases], rotation=15, ha="right")
    axes.set(yscale="symlog", ylabel="ms")
    _legend(axes)
    return drawn


def _scaling(axes: Any, rows: Sequence[dict[str, Any]]) -> bool:
    if not rows:
        return False
    colours = {"offloop": _COLOURS["hybrid"], "ThreadPoolExecutor": _COLOURS["asyncio"], "inline": _COLOURS["other"]}
    threads = [row["threads"] for row in rows]
    for name in rows[0]["gb_per_second"]:
        rates = [row["gb_per_second"][name] for row in rows]
        axes.plot(threads, rates, marker="o", label=name, color=colours.get(name))
    axes.set(xlabel="threads", ylabel="GB/s", xticks=threads, ylim=(0, None))
    _legend(axes)
    return True


def _open_loop(axes: Any, rows: Sequence[dict[str, Any]]) -> bool:
    seen: dict[str, int] = {}
    drawn = False
    for name, variant in dict.fromkeys((row["contender"], row["variant"]) for row in rows):
        points = sorted(
            (row["rate"], row["latency"]["p99"] * 1e3) for row in rows if row["contender"] == name and row["latency"]
        )
        if points:
            drawn = True
            axes.plot([x for x, _ in points], [y for _, y in points], label=name, markersize=4, **_style(variant, seen))
    axes.set(xlabel="items offered a second", ylabel="p99, ms", yscale="log")
    _legend(axes)
    return drawn
