"""``offloop fetch``: fetches URLs many at a time and reports the SHA-256 of each body."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import click

from offloop.cli import exit_codes
from offloop.cli.parameter_types import ByteSize, Header, Seconds, Share

# How long jobs wait for one URL, all redirects together.
_TIMEOUT_SECONDS = 60.0
# Operations handed to the fetcher beyond those it may run, so that it always has the next ones at hand.
_READY_AHEAD = 64


@click.command(
    "fetch",
    short_help="Fetch URLs and print the SHA-256 of each body.",
    epilog="Exit codes: offloop --help. With --min-success, 1 means some failed but enough succeeded, 5 too few did.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("urls", nargs=-1, type=click.UNPROCESSED, metavar="[URL]...")
@click.option("--from", "from_path", metavar="FILE", help="Read the URLs from FILE, one a line; - is standard input.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line instead of a table.")
@click.option("--sums", "sums_path", metavar="FILE", help="Write lines as sha256sum does, names = URLs; - is stdout.")
@click.option("--quiet", is_flag=True, help="No progress bar, table and summary.")
@click.option("--min-success", type=Share(), help="Exit with 5 when a smaller share succeeded, e.g. 0.95 or 95%.")
@click.option(
    "--max-concurrent", type=click.IntRange(min=1), default=64, show_default=True, help="Transfers at a time."
)
@click.option("--per-host", type=click.IntRange(min=0), help="Transfers at a time to one host; 0: no such limit.")
@click.option("--timeout", type=Seconds(), default=_TIMEOUT_SECONDS, show_default=True, help="For each URL.")
@click.option("--connect-timeout", type=Seconds(), help="For look-up, connection and TLS.")
@click.option("--low-speed-bytes", type=ByteSize(), help="Bytes a second; slower than this ...")
@click.option("--low-speed-time", type=click.IntRange(min=0), help="... for so many seconds is a timeout; 0: never.")
@click.option("--max-redirects", type=click.IntRange(min=0), help="Redirects to follow.")
@click.option("--max-body", type=ByteSize(), help="Decoded bytes of one body, e.g. 100MB.")
@click.option("--fail-on-status/--no-fail-on-status", default=None, help="A status of 400 or above fails (default).")
@click.option("--verify-tls/--no-verify-tls", default=None, help="Verify certificates (default).")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="PEM file of the authorities to trust.")
@click.option("--decompress/--no-decompress", default=None, help="Decode gzip, br and zstd (default).")
@click.option("--http2/--no-http2", default=None, help="Offer HTTP/2 on https.")
@click.option("--user-agent", metavar="TEXT", help="Say who you are.")
@click.option(
    "--header", "--headers", "headers", multiple=True, type=Header(), help="Send with every request; repeatable."
)
@click.option("--env-proxy/--no-env-proxy", default=None, help="Honour http_proxy and its kin (default).")
@click.option("--addresses", type=click.Choice(["allow_all", "public_only"]), help="Refuse private addresses?")
@click.option("--allow-cidrs", multiple=True, metavar="NETWORK", help="Allow it in any case; repeatable.")
@click.option("--deny-cidrs", multiple=True, metavar="NETWORK", help="Refuse it in any case; repeatable.")
@click.option("--resolve", multiple=True, metavar="HOST:ADDRESS", help="Instead of looking the name up; repeatable.")
@click.option("--io-threads", type=click.IntRange(min=1), help="Threads for transfers.")
def command(
    urls: tuple[str, ...],
    from_path: str | None,
    as_json: bool,
    sums_path: str | None,
    quiet: bool,
    min_success: float | None,
    headers: tuple[tuple[str, str], ...],
    max_concurrent: int,
    **options: Any,
) -> int:
    """Fetch each URL and print the SHA-256 of its body.

    A URL listed twice is fetched once and reported twice. A URL that is wrong or fails is one failed record; the others
    go on. Memory does not grow with the length of the list nor with the size of the bodies.
    """
    if bool(urls) == (from_path is not None):
        raise click.UsageError("expected either URLs or --from FILE, got " + ("both" if urls else "neither"))
    if as_json and sums_path == "-":
        raise click.UsageError("--json and --sums - both want standard output, expected one of them")
    fetcher_options = {name: value for name, value in options.items() if value not in (None, ())}
    fetcher_options["max_concurrent"] = max_concurrent
    if headers:
        fetcher_options["headers"] = list(headers)
    screen = not quiet and not as_json and sums_path != "-"
    return asyncio.run(_fetch(_Plan(urls, from_path, as_json, sums_path, quiet, screen, min_success, fetcher_options)))


@dataclass(frozen=True, slots=True)
class _Plan:
    urls: tuple[str, ...]
    from_path: str | None
    as_json: bool
    sums_path: str | None
    quiet: bool
    table: bool
    min_success: float | None
    fetcher_options: dict[str, Any]


async def _fetch(plan: _Plan) -> int:
    # Imported here: --help and wrong command lines need none of it.
    from offloop.cli import listing
    from offloop.cli.fetch_output import Output
    from offloop.cli.listing_run import ListingRun
    from offloop.cli.record import Record

    source = listing.from_arguments(plan.urls) if plan.from_path is None else listing.FileListing(plan.from_path)
    output: Output[Record] = Output(as_json=plan.as_json, sums_path=plan.sums_path)
    shown = ListingRun(output, plan.quiet, plan.table, _print_table)
    interrupted = await shown.run(_run(plan, aiter(source), shown))
    return interrupted or _exit_code(output.tally.ok, output.tally.done, plan.min_success)


def _print_table(tally: Any) -> None:
    from offloop.cli.fetch_screen import print_table

    print_table(tally)


async def _run(plan: _Plan, batches: Any, shown: Any) -> None:
    from offloop.cli.fetch_engine import FetchEngine
    from offloop.cli.in_order import InOrder
    from offloop.cli.seen import Seen
    from offloop.fetch import Fetcher

    try:
        fetcher = Fetcher(**plan.fetcher_options)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    seen = Seen()
    ordered = InOrder(shown.output.write)
    try:
        async with fetcher:
            window = plan.fetcher_options["max_concurrent"] + _READY_AHEAD
            engine = FetchEngine(fetcher, ordered.push, window, seen)
            with shown.bar(len(plan.urls) if plan.from_path is None else None):
                await engine.run(batches)
    finally:
        ordered.finish()
        seen.close()


def _exit_code(ok: int, done: int, min_success: float | None) -> int:
    if min_success is not None and done and ok < min_success * done:
        return exit_codes.BELOW_MIN_SUCCESS
    return exit_codes.ALL_OK if ok == done else exit_codes.SOME_FAILED
