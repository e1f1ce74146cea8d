"""``offloop bench``: its command line."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from offloop.bench.plan import QUICK_TASKS, TASKS, Plan

if TYPE_CHECKING:
    from offloop.bench.document import Document

_INPUT_UNREADABLE = 3
_INTERRUPTED = 130
_SOME_FAILED = 1
MOST_RATE = 1e6
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "kib": 1024, "mib": 1 << 20}


class InputError(click.ClickException):
    """What the user named cannot be read."""

    exit_code = _INPUT_UNREADABLE


def parse_size(text: str) -> int:
    """Bytes of "10KB", "1MiB", "4096". Raises click.BadParameter."""
    text = text.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip()
    if not digits.isdigit() or unit not in _UNITS or int(digits) == 0:
        raise click.BadParameter(f"expected sizes as 10KB or 1MiB, got {text!r}")
    return int(digits) * _UNITS[unit]


def parse_rates(text: str) -> list[float]:
    """Items a second of "1000,2500.5". Raises click.BadParameter."""
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 < rate <= MOST_RATE for rate in rates):
        raise click.BadParameter(f"expected items a second, above 0 and at most {MOST_RATE:g}, got {text!r}")
    return rates


def _rates(ctx: click.Context, param: click.Parameter, value: str | None) -> list[float] | None:
    return None if value is None else parse_rates(value)


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    return None if value is None else [parse_size(part) for part in value.split(",")]


@click.group("bench", short_help="Measure asyncio, native and hybrid on the same work.", invoke_without_command=True)
@click.option("--quick", is_flag=True, help="The quick form: hash and fetch, few rounds, two minutes on two cores.")
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="Only this task; may be repeated.")
@click.option("--sizes", callback=_sizes, metavar="SIZE,...", help="Of hash and fetch: 1KB,4KiB,1MB.")
@click.option("--concurrency", type=click.IntRange(1), help="Items at a time (hash, image: all; fetch: 64).")
@click.option(
    "--payloads", type=click.Path(path_type=Path), metavar="DIR", help="Hash the files below DIR, or resize its JPEGs."
)
@click.option("--urls", type=click.Path(path_type=Path), metavar="FILE", help="Fetch (and resize) the URLs in FILE.")
@click.option("--call", metavar="MODULE:FUNCTION", help="Measure your own function of bytes, on the files of --data.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="What --call is called with.")
@click.option("--rate", "rates", callback=_rates, metavar="N,...", help="Open loop: items arrive at N a second.")
@click.option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="poisson",
    show_default=True,
    help="How they arrive.",
)
@click.option("--duration", type=click.FloatRange(0.01, 3600), help="Seconds at each rate (10; quick: 2).")
@click.option("--contender", "only", multiple=True, metavar="TEXT", help="Only contenders with TEXT in their names.")
@click.option("--repeats", type=click.IntRange(1), help="Timed rounds (3 in the quick form, 5 in the full one).")
@click.option("--seed", type=int, default=1, show_default=True, help="Of payloads, orders and intervals.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR",
    help="Where results.json and the report go (default: offloop-bench/DATE-TIME).",
)  # fmt: skip
@click.option("--no-html", is_flag=True, help="Leave the HTML report out.")
@click.pass_context
def command(
    context: click.Context,
    quick: bool,
    tasks: tuple[str, ...],
    sizes: list[int] | None,
    concurrency: int | None,
    payloads: Path | None,
    urls: Path | None,
    call: str | None,
    data: Path | None,
    rates: list[float] | None,
    arrivals: Literal["constant", "poisson"],
    duration: float | None,
    only: tuple[str, ...],
    repeats: int | None,
    seed: int,
    output: Path | None,
    no_html: bool,
) -> int:
    """Measure the variants asyncio, native and hybrid on the same work, every answer checked.

    Ctrl-C ends it early and leaves what was measured readable. Exit code 1 when a contender failed or gave a wrong
    answer.
    """
    if context.invoked_subcommand is not None:
        return 0
    if (call is None) != (data is None):
        raise click.UsageError("--call and --data belong together")
    own = [name for name, given in (("hash", payloads), ("fetch", urls), ("call", call)) if given is not None]
    chosen = tasks or own or (QUICK_TASKS if quick else TASKS)
    if rates is not None and not tasks and not own:
        chosen = ("hash",)
    plan = Plan(
        quick, chosen, seed, sizes, concurrency, repeats, payloads, urls, call, data, rates, arrivals, duration, only
    )
    return _run(plan, output or Path("offloop-bench") / time.strftime("%Y%m%d-%H%M%S"), with_html=not no_html)


def _run(plan: Plan, folder: Path, *, with_html: bool) -> int:
    from offloop.bench import table
    from offloop.bench.document import RESULTS
    from offloop.bench.session import Session

    session = Session(plan, folder)
    to = table.console()
    table.print_head(session.document, to)
    with to.status("") as status:
        try:
            session.run(lambda words: status.update(words), lambda case: table.print_case(case, to))
        except ValueError as error:
            raise InputError(str(error)) from error
    document = session.document
    if document["interrupted"] and document["cases"]:
        table.print_case(document["cases"][-1], to)
    if document["open_loop"]:
        table.print_open_loop(document, to)
    table.print_summary(document, to)
    for path in (folder / RESULTS, *_write_pages(_read(folder), folder, with_html=with_html)):
        to.print(f"written: {path}", markup=False, soft_wrap=True)
    if document["interrupted"]:
        return _INTERRUPTED
    rows = [row["status"] for case in document["cases"] for row in case["contenders"]]
    rows += [row["status"] for row in document["open_loop"]]
    bad = "failed" in rows or "wrong" in rows
    return _SOME_FAILED if bad else 0


def _write_pages(document: Document, folder: Path, *, with_html: bool = True) -> list[Path]:
    """The report and the claims page; says on standard error when the plots are left out."""
    from offloop.bench import claims, html
    from offloop.bench.document import write_text

    written = []
    if with_html:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            click.echo("no plots: matplotlib is not installed (pip install 'offloop[bench]')", err=True)
        written.append(write_text(folder / "report.html", html.page(document)))
    return [*written, write_text(folder / "claims.md", claims.page(document))]


def _read(path: Path) -> Document:
    from offloop.bench.document import read

    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from error


@command.command("report")
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Default: beside the results.")
def report_command(results: Path, output: Path | None) -> int:
    """Write report.html and claims.md from RESULTS (a results.json, or its folder), and show the tables."""
    from offloop.bench import table

    document = _read(results)
    to = table.console()
    table.print_head(document, to)
    for case in document["cases"]:
        table.print_case(case, to)
    if document["open_loop"]:
        table.print_open_loop(document, to)
    table.print_summary(document, to)
    for path in _write_pages(document, output or (results if results.is_dir() else results.parent)):
        to.print(f"written: {path}", markup=False, soft_wrap=True)
    return 0


@command.command("claims")
@click.argument("results", type=click.Path(path_type=Path), required=False)
@click.option("--open-loop", type=click.Path(path_type=Path), metavar="RESULTS", help="Of another run, with --rate.")
def claims_command(results: Path | None, open_loop: Path | None) -> int:
    """Print the claims page: public claims beside what RESULTS say (without: beside nothing)."""
    from offloop.bench import claims

    documents = [None if path is None else _read(path) for path in (results, open_loop)]
    print(claims.page(*documents), end="")
    return 0


@command.command("compare")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Also what did not change.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def compare_command(old: Path, new: Path, everything: bool, as_json: bool) -> int:
    """Compare two runs, contender by contender, with significance. Exit code 1 when something became slower."""
    from offloop.bench import table
    from offloop.bench.compare import compare

    found = compare(_read(old), _read(new))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
    else:
        table.print_comparison(found, table.console(), everything=everything)
    return _SOME_FAILED if any(change.verdict == "slower" for change in found.changes) else 0
