"""Makes the tables of docs/performance*.md and README.md from bench/results: no figure there is typed by hand.

Without arguments it prints the tables; with --write it puts them between the markers `<!-- results: NAME -->` and
`<!-- end -->` of the pages, a summary between those of the README, and makes docs/claims.md; with --check it ends with
exit code 1 when one of them does not hold them. `suite` and `open_loop` are a results.json of `offloop bench`, the
others are written by the benchmarks beside this file. A folder in bench/results holds those of another machine,
`FOLDER/NAME` on the pages.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from harness import Spread, number, shown

from offloop.bench import claims, markdown, words
from offloop.bench.document import Document, read
from offloop.bench.machine import BUSY_CPUS, BUSY_STEAL

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
PAGES = tuple(sorted((ROOT / "docs").glob("performance*.md")))
README = ROOT / "README.md"
CLAIMS = ROOT / "docs" / "claims.md"
SUITE = RESULTS / "suite.json"
OPEN_LOOP = RESULTS / "open_loop.json"
# What the README shows: the judged figures of these, on asyncio's own loop where there are two.
SUMMARY = ("await_cost", "hash_table", "many_small", "mixed_sizes", "fetch_hash", "images", "fetch_resize")

_SUMMARY_PLACE = re.compile(r"(<!-- numbers:begin -->\n).*?(<!-- numbers:end -->)", re.DOTALL)
_PLACE = re.compile(r"(<!-- results: (?P<name>[\w./-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def spread(stored: dict[str, float]) -> Spread:
    return Spread(stored["median"], stored["low"], stored["high"])


def about(document: dict[str, Any]) -> list[str]:
    """The line that says where and how the figures were made."""
    machine = document["machine"]
    others = words.noise(document)
    polling = machine.get("halt_polling_us")
    idle = "" if polling is None else f", idle CPUs poll {polling:.0f} us before they halt"
    lines = [
        f"`python bench/micro/{document['benchmark']}.py`, {document['date']}, {document['repeats']} rounds: "
        f"{machine['cpu']['name']} ({machine['cpu']['model']}), {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}, hashlib's {machine['hashlib_openssl']}, offloop {machine['offloop']} "
        f"({machine['compiler']}, {machine['abi']}), {machine['threads']} workers, "
        f"widest kernel {machine['widest_kernel']}{idle}; {others}."
    ]
    if document["quick"]:
        lines.append("\n**A --quick run: not a result.**")
    if document["busy_before"] > BUSY_CPUS or document.get("steal_share", 0.0) > BUSY_STEAL:
        lines.append("\n**The machine was busy: not a final result.**")
    return lines


def cases(document: dict[str, Any]) -> list[str]:
    """What each contender took."""
    lines = ["| case | contender | median | lowest - highest |", "|---|---|---|---|"]
    for row in document["rows"]:
        case = row["case"]
        for name, stored in row["values"].items():
            value = spread(stored)
            low, high = number(value.low, row["unit"]), number(value.high, row["unit"])
            lines.append(f"| {case} | {name} | {number(value.median, row['unit'])} | {low} - {high} |")
            case = ""
    return lines


def demands(document: dict[str, Any]) -> list[str]:
    """The ratios, with their targets where there are some."""
    lines = ["| case | figure | measured | target | |", "|---|---|---|---|---|"]
    for row in document["rows"]:
        for check in row["checks"]:
            sign = "at least" if check["at_least"] else "at most"
            source = f" ({check['source']})" if check["source"] else ""
            lines.append(
                f"| {row['case']} | {check['what']} | {shown(spread(check['value']), check['unit'])} "
                f"| {sign} {number(check['target'], check['unit'])}{source} | {check['verdict']} |"
            )
        for what, stored in row["ratios"].items():
            lines.append(f"| {row['case']} | {what} | {shown(spread(stored), 'x')} | | |")
    return lines if len(lines) > 2 else []


def notes(document: dict[str, Any]) -> list[str]:
    return [f"- {row['case']}: {'; '.join(row['notes'])}." for row in document["rows"] if row["notes"]]


def suite(path: Path = SUITE) -> Document | None:
    """The stored results of `offloop bench`."""
    return read(path) if path.exists() else None


def suite_tables(path: Path) -> str:
    document = suite(path)
    return "\nNot measured yet: `make bench`\n\n" if document is None else f"\n{markdown.tables(document)}\n"


def tables(name: str) -> str:
    path = RESULTS / f"{name}.json"
    if path.name in (SUITE.name, OPEN_LOOP.name):
        return suite_tables(path)
    if not path.exists():
        return f"\nNot measured yet: `python bench/micro/{name}.py --json bench/results/{name}.json`\n\n"
    document = json.loads(path.read_text())
    parts = [about(document), demands(document), cases(document), notes(document)]
    return "\n" + "\n\n".join("\n".join(part) for part in parts if part) + "\n\n"


def filled(page: str) -> str:
    return _PLACE.sub(lambda place: place[1] + tables(place["name"]) + place[3], page)


def summary() -> str:
    """The judged figures of SUMMARY in one table, with the machine they were measured on."""
    documents = [json.loads(path.read_text()) for name in SUMMARY if (path := RESULTS / f"{name}.json").exists()]
    if not documents:
        return "\nNot measured yet: `make bench-micro RESULTS=bench/results`.\n\n"
    machine = documents[0]["machine"]
    lines = [
        f"Median (lowest - highest round) on {machine['cpu']['name']} ({machine['cpu']['model']}), {machine['cores']} "
        f"cores, widest kernel {machine['widest_kernel']}, {machine['python']}; the targets were set on Intel Sapphire "
        "Rapids with AVX-512.",
        "",
        "| case | figure | measured | target | |",
        "|---|---|---|---|---|",
    ]
    for document in documents:
        for row in document["rows"]:
            if row["case"].startswith("uvloop"):
                continue
            for check in row["checks"]:
                sign = "at least" if check["at_least"] else "at most"
                value = shown(spread(check["value"]), check["unit"])
                target = number(check["target"], check["unit"])
                source = f" ({check['source']})" if check["source"] else ""
                lines.append(
                    f"| {row['case']} | {check['what']} | {value} | {sign} {target}{source} | {check['verdict']} |"
                )
    return "\n" + "\n".join(lines) + "\n\n"


def summarised(readme: str) -> str:
    return _SUMMARY_PLACE.sub(lambda place: place[1] + summary() + place[2], readme)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write them into the pages and the README")
    parser.add_argument("--check", action="store_true", help="exit code 1 when one of them does not hold the tables")
    given = parser.parse_args()
    pages = {path: filled(path.read_text()) for path in PAGES}
    pages[README] = summarised(README.read_text())
    pages[CLAIMS] = claims.page(suite(), suite(OPEN_LOOP))
    if given.write:
        for path, text in pages.items():
            path.write_text(text)
    elif given.check:
        for path, text in pages.items():
            if not path.exists() or text != path.read_text():
                sys.exit(f"{path.name} does not hold the stored results: run bench/micro/report.py --write")
    else:
        for path in sorted(RESULTS.rglob("*.json")):
            name = path.relative_to(RESULTS).with_suffix("").as_posix()
            print(f"## {name}\n{tables(name)}")


if __name__ == "__main__":
    main()
