"""What people see of ``offloop image``: the table of results, and a line for a picture's header."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from offloop.cli.fetch_output import Tally
from offloop.cli.fetch_screen import in_bytes, printable
from offloop.cli.image_record import ImageRecord
from offloop.image import ImageInfo

# Where standard output is no terminal nobody folds lines for us.
_FILE_WIDTH = 200


def print_table(tally: Tally[ImageRecord]) -> None:
    """Print the first records, and failures from further down, on standard output."""
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("source", overflow="fold", ratio=1)
    table.add_column("was", no_wrap=True)
    table.add_column("is", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("result, or what went wrong", overflow="fold", ratio=1)
    for record in [*tally.rows, *tally.more_failures]:
        table.add_row(*_cells(record))
    console.print(table)
    hidden = tally.done - len(tally.rows) - len(tally.more_failures)
    if hidden > 0:
        console.print(Text(f"... and {hidden} more (--json has them all)"))


def _cells(record: ImageRecord) -> list[Text]:
    picture = record.picture
    failed = record.picture is None
    return [
        Text(str(record.index + 1)),
        Text(printable(record.source)),
        Text("" if picture is None else f"{picture.input.width}x{picture.input.height} {picture.input.format}"),
        Text("" if picture is None else f"{picture.width}x{picture.height} {picture.format}"),
        Text("" if picture is None else in_bytes(picture.size)),
        Text(f"{record.elapsed:.3f} s"),
        Text(printable(f"{record.error}: {record.message}"), style="red")
        if failed
        else Text(printable(record.output or "")),
    ]


def describe(info: ImageInfo) -> str:
    """Return a header in words: "jpeg 640x480, srgb, 8 bit, orientation 6 (480x640 upright)"."""
    words = [f"{info.format} {info.width}x{info.height}", info.color_space + (" with alpha" if info.has_alpha else "")]
    words.append(f"{info.bits} bit")
    if info.orientation != 1:
        words.append(f"orientation {info.orientation} ({info.upright_width}x{info.upright_height} upright)")
    if info.progressive:
        words.append("interlaced" if info.format == "png" else "progressive")
    if info.has_profile:
        words.append("with profile")
    if info.frames > 1:
        words.append(f"{info.frames} frames")
    return ", ".join(words)
