"""``offloop image info``: what pictures are, by their headers."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import click

from offloop.cli import exit_codes, listing
from offloop.cli.image import require_images
from offloop.cli.parameter_types import ByteSize
from offloop.cli.quoting import quote_name

if TYPE_CHECKING:
    from offloop.cli.image_sources import Source

_COUNT = click.IntRange(min=1)
_IN_FLIGHT = 64


@click.command(
    "info",
    short_help="Say what pictures are.",
    epilog="Exit codes: offloop --help.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("paths", nargs=-1, type=click.UNPROCESSED, required=True, metavar="PATH...")
@click.option("--max-pixels", type=_COUNT, help="Default: 50 million.")
@click.option("--max-bytes", type=ByteSize(), help="Of the file, e.g. 20MB; default: 256MiB.")
@click.option("--max-scans", type=_COUNT, help="Of a progressive JPEG; default: 100.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
def command(paths: tuple[str, ...], as_json: bool, **limits: int | None) -> int:
    """Print format, size, colours and orientation of each PATH, from its header; nothing is decoded.

    Of a PATH that is a folder the pictures below it, by their content and not their names. One that cannot be read is
    reported on standard error and makes the exit code 1.
    """
    require_images()
    return asyncio.run(_info(paths, as_json, {name: limit for name, limit in limits.items() if limit is not None}))


async def _info(paths: tuple[str, ...], as_json: bool, limits: dict[str, int]) -> int:
    # Imported here: --help and wrong command lines need no image library.
    from offloop.cli.image_sources import sources
    from offloop.cli.interruptible import Interrupted, interruptible

    failed: list[bool] = [False]

    async def work() -> None:
        window: deque[tuple[Source, Awaitable[Any] | Exception]] = deque()
        async for source in sources(listing.from_arguments(paths)):
            window.append((source, _start(source, limits)))
            if len(window) >= _IN_FLIGHT:
                failed[0] |= not await _finish(*window.popleft(), as_json)
        while window:
            failed[0] |= not await _finish(*window.popleft(), as_json)

    try:
        await interruptible(work())
    except Interrupted:
        raise exit_codes.Ended(exit_codes.INTERRUPTED, "interrupted") from None
    return exit_codes.SOME_FAILED if failed[0] else exit_codes.ALL_OK


def _start(source: Source, limits: dict[str, int]) -> Awaitable[Any] | Exception:
    from offloop import image

    if source.error is not None:
        return source.error
    try:
        return image.info(source.name, **limits)
    except ValueError as error:  # a path that can be none
        return error


async def _finish(source: Source, started: Awaitable[Any] | Exception, as_json: bool) -> bool:
    """Write what became of one picture; return whether it could be read."""
    from offloop.cli.image_record import failed_info_line, info_line, words_of
    from offloop.cli.image_screen import describe
    from offloop.errors import OffloopError

    out = sys.stdout.buffer
    try:
        if isinstance(started, Exception):
            raise started
        info = await started
    except (OffloopError, OSError, ValueError) as error:
        if as_json:
            out.write(failed_info_line(source.name, error))
        out.flush()  # before what is said on standard error
        print(f"offloop image: {quote_name(source.name)}: {words_of(error)}", file=sys.stderr, flush=True)
        return False
    line = info_line(source.name, info) if as_json else f"{quote_name(source.name)}: {describe(info)}\n".encode()
    out.write(line)
    if sys.stdout.isatty():
        out.flush()
    return True
