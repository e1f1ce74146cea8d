"""What people see of ``offloop fetch``: a progress bar while it runs, a table and a summary at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from offloop.cli.fetch_output import Tally
from offloop.cli.record import Record

_REFRESH_SECONDS = 0.1
# Where standard output is no terminal nobody folds lines for us: room for a URL and a whole digest.
_FILE_WIDTH = 200
_WHOLE_DIGEST_WIDTH = 160


class ProgressBar:
    """A progress bar on standard error, redrawn by the event loop; nothing where that is no terminal."""

    def __init__(self, tally: Tally[Any], total: int | None, *, enabled: bool) -> None:
        self._tally = tally
        self._total = total
        self._start = time.monotonic()
        self._progress: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None
        if enabled and sys.stderr.isatty():
            self._progress = Progress(
                BarColumn(),
                TextColumn("{task.fields[words]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                auto_refresh=False,
                transient=True,
            )
            self._task = self._progress.add_task("", total=total, words="")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._progress is not None:
            self._progress.stop()

    def _draw(self) -> None:
        assert self._progress is not None  # only then is it scheduled
        tally = self._tally
        seconds = max(time.monotonic() - self._start, 1e-9)
        of = f"/{self._total}" if self._total is not None else ""
        words = f"{tally.done}{of}  {tally.done / seconds:.0f}/s  {in_bytes(tally.body_bytes / seconds)}/s"
        if tally.failed:
            words += f"  {tally.failed} failed"
        self._progress.update(self._task, completed=tally.done, words=words, refresh=True)
        self._timer = asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self._draw)


def print_table(tally: Tally[Record]) -> None:
    """Print the first records, and failures from further down, on standard output."""
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("url", overflow="fold", ratio=1)
    table.add_column("status", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("sha256, or what went wrong", overflow="fold", ratio=1)
    whole = console.width >= _WHOLE_DIGEST_WIDTH
    for record in [*tally.rows, *tally.more_failures]:
        table.add_row(*_cells(record, whole_digest=whole))
    console.print(table)
    hidden = tally.done - len(tally.rows) - len(tally.more_failures)
    if hidden > 0:
        console.print(Text(f"... and {hidden} more (--json and --sums have them all)"))
    if not whole and tally.ok:
        console.print(Text(f"whole digests: --json, --sums -, or {_WHOLE_DIGEST_WIDTH} columns"))


def _cells(record: Record, *, whole_digest: bool) -> list[Text]:
    outcome = Text(f"{record.error}: {record.message}", style="red")
    if record.sha256 is not None:
        outcome = Text(record.sha256 if whole_digest else record.sha256[:16] + "...")
    return [
        Text(str(record.index + 1)),
        Text(printable(record.url)),
        Text("" if record.status is None else str(record.status)),
        Text("" if record.size is None else in_bytes(record.size)),
        Text("" if record.elapsed is None else f"{record.elapsed:.3f} s"),
        outcome if record.ok else Text(printable(outcome.plain), style="red"),
    ]


def print_summary(tally: Tally[Any], seconds: float, *, interrupted: bool) -> None:
    """Print one line of totals, and one for each kind of error, on standard error."""
    rate = tally.done / max(seconds, 1e-9)
    lines = [
        f"{tally.ok} ok, {tally.failed} failed; {in_bytes(tally.body_bytes)} in {seconds:.2f} s "
        f"({rate:.0f}/s, {in_bytes(tally.body_bytes / max(seconds, 1e-9))}/s)"
    ]
    lines += [f"  {count} {name}" for name, count in tally.errors.most_common()]
    if interrupted:
        lines.append("interrupted: the entries in flight have no record")
    print("\n".join(lines), file=sys.stderr, flush=True)


def in_bytes(count: float) -> str:
    """Return a number of bytes for people: "512 B", "1.5 MB" (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def printable(words: str) -> str:
    """Replace what could move the cursor or is no text."""
    return "".join(character if character.isprintable() else "?" for character in words)
