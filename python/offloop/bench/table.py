"""The results on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offloop.bench import words
from offloop.bench.compare import Comparison
from offloop.bench.document import CaseDict, ContenderDict, Document

COLUMNS = ("contender", "burst", "interval", "items/s", "GB/s", "p50", "p99", "p99.9", "stall max", "stall p99",
           "CPU/item", "memory")  # fmt: skip
# On a terminal that is narrower these are left out; results.json and the report have them.
SPARED = ("interval", "p99.9", "stall p99", "memory")
_WIDTH = 172  # of a table with all columns


def console() -> Console:
    """Standard output; where it is no terminal, wide enough for every column."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=max(found.width, _WIDTH))


def print_head(document: Document, to: Console) -> None:
    """The machine and the settings: first of all."""
    about = document["machine"]
    settings = document["settings"]
    to.print(
        f"offloop {document['offloop']}, {about['python']}, {about['cpu']['name']} ({about['cpu']['model']}), "
        f"{about['cores']} cores, {about['threads']} workers, widest kernel {about['widest_kernel']}, "
        f"governor {about['governor']}; {document['form']} form, {words.count(settings['warm_ups'], 'warm-up')}, "
        f"{words.count(settings['repeats'], 'repeat')}, seed {settings['seed']}",
        markup=False,
    )


def print_case(case: CaseDict, to: Console) -> None:
    """A row for every contender, whatever became of it, the fastest first."""
    title = f"{case['task']}: {case['name']}" + ("" if case["complete"] else "  (interrupted)")
    table = Table(title=title, title_justify="left")
    shown = [column for column in COLUMNS if to.width >= _WIDTH or column not in SPARED]
    for column in shown:
        table.add_column(column, justify="left" if column == "contender" else "right", no_wrap=True)
    for row in sorted(case["contenders"], key=_order):
        cells = dict(zip(COLUMNS, (escape(row["name"]), *_figures(row)), strict=False))
        table.add_row(*(cells.get(column, "") for column in shown))
    to.print(table)
    for row in case["contenders"]:
        if row["time"] is None:
            to.print(f"  {row['status']}: {row['name']}: {row['detail']}", markup=False)
    for speedup in case["speedups"]:
        to.print(f"  {speedup['kind']}: {words.times(speedup['ratio'])}", markup=False)
    to.print()


def print_open_loop(document: Document, to: Console) -> None:
    """A table for each case: a row for every contender and rate, the rates together."""
    for (task, case), rows in words.by_case(document["open_loop"]).items():
        title = f"open loop: {task}, {case}: latency from the intended start"
        table = Table(title=escape(title), title_justify="left")
        for column in ("contender", *words.OPEN_LOOP_COLUMNS):
            table.add_column(column, justify="left" if column == "contender" else "right", no_wrap=True)
        for row in sorted((row for row in rows if row["rate"] is not None), key=lambda row: row["rate"]):
            table.add_row(escape(row["contender"]), *words.open_loop_figures(row))
        to.print(table)
        for row in rows:
            if row["rate"] is None:
                to.print(f"  {row['status']}: {row['contender']}: {row['detail']}", markup=False)
        to.print()


def print_comparison(found: Comparison, to: Console, *, everything: bool) -> None:
    """What changed (with `everything` also what did not), then what else differs between the runs."""
    table = Table(title="new time / old time", title_justify="left")
    for column in ("task", "case", "contender", "ratio", "interval", "p", "adjusted p", "verdict"):
        table.add_column(column, no_wrap=True)
    shown = [change for change in found.changes if everything or change.verdict in ("faster", "slower")]
    for change in shown:
        ratio = change.ratio
        table.add_row(
            *map(escape, (change.task, change.case, change.contender)),
            f"{ratio.median:.3f}x",
            f"{ratio.low:.3f} - {ratio.high:.3f}",
            f"{change.p:.3g}",
            f"{change.adjusted_p:.3g}",
            change.verdict,
        )
    if shown:
        to.print(table)
    counts = dict.fromkeys(("faster", "slower", "no difference shown", "too few rounds"), 0)
    for change in found.changes:
        counts[change.verdict] += 1
    to.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), markup=False)
    for line in (*found.notes, *found.only_in_one, *found.differences):
        to.print(f"- {line}", markup=False)


def print_summary(document: Document, to: Console) -> None:
    """The sentences."""
    for sentence in document["sentences"]:
        to.print(f"- {sentence}", markup=False)


def _order(row: ContenderDict) -> tuple[int, float]:
    return (0, row["time"]["median"]) if row["time"] else (1, 0.0)


def _figures(row: ContenderDict) -> list[str]:
    return [row["status"]] if row["time"] is None else words.figures(row)
