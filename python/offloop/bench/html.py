"""The report as one HTML file: plots inside as SVG, no script, nothing that is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from offloop.bench import words
from offloop.bench.document import CaseDict, ContenderDict, Document
from offloop.bench.model import Missing
from offloop.bench.plots import plots

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0; }
th, td { padding: 2px 8px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.text { text-align: left; }
td.text { white-space: normal; color: #777; }
tr.hybrid td:first-child { color: #1f6fb4; } tr.native td:first-child { color: #3a8f3a; }
tr.wrong td, tr.failed td { color: #b00; }
svg { max-width: 100%; height: auto; }
dt { font-weight: bold; } dd { margin: 0 0 0.3em 1.5em; }
"""
_HEAD = ("contender", "burst", "interval", "items/s", "GB/s", "p50", "p99", "p99.9", "longest stall", "stall p99",
         "CPU an item", "peak memory", "at which settings")  # fmt: skip


def page(document: Document) -> str:
    """The whole page. Without matplotlib it names that gap where the plots would be."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>offloop bench</title>',
            f"<style>{_STYLE}</style></head><body>",
            "<h1>offloop bench</h1>",
            "<h2>Summary</h2>",
            f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in document['sentences'])}</ul>",
            "<h2>Machine and settings</h2>",
            _facts(document),
            "<h2>Plots</h2>",
            *_plots(document),
            "<h2>Cases</h2>",
            *(_case(case) for case in document["cases"]),
            *_open_loop(document["open_loop"]),
            "<h2>How it was measured</h2>",
            _METHOD,
            "</body></html>",
            "",
        ]
    )


_METHOD = """\
<p>Every contender's answers are checked before the clock and in every round; one that fails or answers wrong has no
figures. Contenders run in turn, in an order shuffled anew each round. Given are the median of the rounds and its
bootstrap interval (95 %). A speed-up is the median of the ratios within each round. Latencies and stalls come from
rounds of their own, so that looking does not slow the clocked ones: the latency of an item runs from when it was due
(all at once; with a bounded number at a time when its turn came) to its answer, a stall is how late the loop was when
it was looked at every millisecond, counted once for every look that it delayed. CPU is of all threads and processes
of the contender, peak memory what a round added, with the whole of worker processes.</p>"""


def _facts(document: Document) -> str:
    facts: dict[str, Any] = {
        "form": f"{document['form']}, started {document['started']}, {document['seconds']:.0f} s"
        + ("" if document["complete"] else ", NOT COMPLETE"),
        "settings": ", ".join(
            f"{name} {_flat(value)}" for name, value in document["settings"].items() if value not in (None, [], ())
        ),
    }
    facts |= {name: value for name, value in document["machine"].items() if name != "kernel_rates"}
    facts |= {name: value for name, value in document["noise"].items() if name != "warnings" and value is not None}
    items = (f"<dt>{escape(name)}</dt><dd>{escape(_flat(value))}</dd>" for name, value in facts.items())
    return f"<dl>{''.join(items)}</dl>"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(_flat, value))
    return "not installed" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _plots(document: Document) -> Iterator[str]:
    try:
        for title, svg in plots(document):
            yield f"<h3>{escape(title)}</h3>\n{svg}"
    except Missing as gap:
        yield f"<p>There are no plots: {escape(str(gap))}.</p>"


def _case(case: CaseDict) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEAD)
    rows = "".join(map(_row, sorted(case["contenders"], key=lambda row: row["time"]["median"] if row["time"] else 1e9)))
    ratios = "".join(
        f"<li>{escape(one['kind'])}: {escape(words.times(one['ratio']))}: {escape(one['fast'])} against "
        f"{escape(one['slow'])}</li>"
        for one in case["speedups"]
    )
    incomplete = "" if case["complete"] else " (interrupted)"
    return (
        f"<h3>{escape(case['task'])}: {escape(case['name'])}{incomplete}</h3>"
        f"<table><tr>{head}</tr>{rows}</table><ul>{ratios}</ul>"
    )


def _row(row: ContenderDict) -> str:
    if row["time"] is None:
        detail = f'<td class="text" colspan="12">{escape(row["status"])}: {escape(row["detail"])}</td>'
        return f'<tr class="{row["status"]}"><td>{escape(row["name"])}</td>{detail}</tr>'
    figures = "".join(f"<td>{escape(cell)}</td>" for cell in words.figures(row))
    return (
        f'<tr class="{row["variant"]}"><td>{escape(row["name"])}</td>{figures}'
        f'<td class="text">{escape(row["settings"])}</td></tr>'
    )


def _open_loop(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    names = ("contender", "arrivals", *words.OPEN_LOOP_COLUMNS)
    yield "<h2>Open loop: latency from the intended start</h2>"
    for (task, case), of_case in words.by_case(rows).items():
        yield f"<h3>{escape(task)}: {escape(case)}</h3><table><tr>"
        yield "".join(f"<th>{name}</th>" for name in names) + "</tr>"
        yield from map(_open_loop_row, of_case)
        yield "</table>"


def _open_loop_row(row: dict[str, Any]) -> str:
    if row["rate"] is None:
        text = escape(f"{row['status']}: {row['detail']}")
        return f'<tr><td>{escape(row["contender"])}</td><td class="text" colspan="10">{text}</td></tr>'
    cells = [row["arrivals"], *words.open_loop_figures(row)]
    return f"<tr><td>{escape(row['contender'])}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
