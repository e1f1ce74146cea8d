"""How ``offloop fetch`` and ``offloop image`` work through a listing: a bar meanwhile; at the end table and summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from offloop.cli import exit_codes
from offloop.cli.fetch_output import Outcome, Output, Tally
from offloop.cli.interruptible import Interrupted, interruptible

Row = TypeVar("Row", bound=Outcome)


@dataclass(frozen=True, slots=True)
class ListingRun(Generic[Row]):
    """What is shown of one run. The bar and the summary are loaded when they are needed: with `quiet` never."""

    output: Output[Row]
    quiet: bool
    table: bool  # standard output is the table's: neither JSON nor sums go there
    print_table: Callable[[Tally[Row]], None]

    def bar(self, total: int | None) -> AbstractContextManager[object]:
        """Return a progress bar over `total` records (None: unknown), or nothing where none is to be drawn."""
        # On one terminal the bar would be drawn across the lines.
        lines_on_terminal = not self.table and sys.stdout.isatty()
        if self.quiet or lines_on_terminal or not sys.stderr.isatty():
            return nullcontext()
        from offloop.cli.fetch_screen import ProgressBar

        return ProgressBar(self.output.tally, total, enabled=True)

    async def run(self, work: Coroutine[Any, Any, None]) -> int | None:
        """Run `work`, close the output, print; return INTERRUPTED after Ctrl-C, else None: the exit code is open."""
        started = time.monotonic()
        interrupted = False
        try:
            await interruptible(work)
        except Interrupted:
            interrupted = True
        finally:
            self.output.close()
        if not self.quiet:
            from offloop.cli.fetch_screen import print_summary

            if self.table:
                self.print_table(self.output.tally)
                sys.stdout.flush()
            print_summary(self.output.tally, time.monotonic() - started, interrupted=interrupted)
        return exit_codes.INTERRUPTED if interrupted else None
