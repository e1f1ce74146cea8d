"""Results as Markdown tables, for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from offloop.bench import words
from offloop.bench.document import CaseDict, Document
from offloop.bench.figures import KINDS

_COLUMNS = ("a burst", "items/s", "GB/s", "p50", "p99", "longest stall", "CPU an item", "memory")


def tables(document: Document) -> str:
    """Where and how it was measured, the summary, the speed-ups of every case, then a table for each case."""
    about, settings = document["machine"], document["settings"]
    lines = [
        f"`offloop bench`, {document['form']} form, {document['started'][:10]}, "
        f"{words.count(settings['warm_ups'], 'warm-up')}, "
        f"{words.count(settings['repeats'], 'repeat')}, seed {settings['seed']}: "
        f"{about['cpu']['name']} ({about['cpu']['model']}), "
        f"{about['cores']} cores, governor {about['governor']}, {about['system']}, {about['python']}, hashlib's "
        f"{about['hashlib_openssl']}, offloop {document['offloop']} ({about['compiler']}, {about['abi']}), "
        f"{about['threads']} workers, widest kernel {about['widest_kernel']}; "
        f"{words.noise(document['noise'])}.",
        "",
        *(f"- {sentence}" for sentence in document["sentences"]),
    ]
    if document["cases"]:
        lines += ["", f"| case | {' | '.join(KINDS)} |", "|---|" + "---|" * len(KINDS)]
        lines += map(_speedups, document["cases"])
    for case in document["cases"]:
        lines += ["", *_case(case)]
    for (task, name), rows in words.by_case(document["open_loop"]).items():
        lines += ["", *_open_loop(f"{task}: {name}", rows)]
    return "\n".join(lines) + "\n"


def _open_loop(case: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| open loop, {case} | {' | '.join(words.OPEN_LOOP_COLUMNS)} |"
    yield "|---|" + "---|" * len(words.OPEN_LOOP_COLUMNS)
    for row in sorted(rows, key=lambda row: row["rate"] or 0):
        if row["rate"] is None:
            yield f"| {row['contender']} | {row['status']} |" + " |" * (len(words.OPEN_LOOP_COLUMNS) - 1)
        else:
            yield f"| {row['contender']} | {' | '.join(words.open_loop_figures(row))} |"


def _speedups(case: CaseDict) -> str:
    found = {one["kind"]: words.times(one["ratio"]) for one in case["speedups"]}
    return f"| {case['task']}: {case['name']} | {' | '.join(found.get(kind, '-') for kind in KINDS)} |"


def _case(case: CaseDict) -> list[str]:
    lines = [f"| {case['task']}: {case['name']} | {' | '.join(_COLUMNS)} |", "|---|" + "---|" * len(_COLUMNS)]
    for row in case["contenders"]:
        if row["time"] is None:
            lines.append(f"| {row['name']} | {row['status']} | | | | | | | |")
            continue
        latency, stall, time = row["latency"], row["stall"], row["time"]
        cells = [
            f"{words.seconds(time['median'])} ({words.seconds(time['low'])} - {words.seconds(time['high'])})",
            words.rate(row["items_per_second"]),
            words.gb_per_second(row["gb_per_second"]),
            words.seconds(latency["p50"] if latency else None),
            words.seconds(latency["p99"] if latency else None),
            words.seconds(stall["longest"] if stall else None),
            words.seconds(row["cpu_seconds_per_item"]),
            words.size(row["peak_bytes"]),
        ]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return lines
