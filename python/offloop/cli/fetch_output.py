"""Where the records of ``offloop fetch`` and ``offloop image`` go: JSON lines, sums lines, counts for table and end."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import BinaryIO, Generic, Protocol, TypeVar

from offloop import sums
from offloop.cli import exit_codes
from offloop.cli.quoting import quote_name

# The table shows this many entries from the top and as many failures from further down; memory stays flat.
TABLE_ROWS = 40


class Outcome(Protocol):
    """What became of one entry of a listing."""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""

    @property
    def size(self) -> int | None:
        """Bytes that came in."""

    @property
    def error(self) -> str | None:
        """The name of the error's class."""

    def sums(self) -> list[tuple[str, str]]:
        """Return digests and the names they belong to."""

    def to_json(self) -> bytes:
        """Return one line of JSON."""


Row = TypeVar("Row", bound=Outcome)


class Tally(Generic[Row]):
    """Counts of what was done, and the few records that a table can show."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.body_bytes = 0
        self.errors: Counter[str] = Counter()
        self.rows: list[Row] = []
        self.more_failures: list[Row] = []

    @property
    def done(self) -> int:
        """Records counted."""
        return self.ok + self.failed

    def add(self, record: Row) -> None:
        """Count `record`."""
        if record.ok:
            self.ok += 1
            self.body_bytes += record.size or 0
        else:
            self.failed += 1
            self.errors[record.error or "?"] += 1
        if len(self.rows) < TABLE_ROWS:
            self.rows.append(record)
        elif not record.ok and len(self.more_failures) < TABLE_ROWS:
            self.more_failures.append(record)


class Output(Generic[Row]):
    """Writes records as they come. OSError from it means that the output is full or gone."""

    def __init__(self, *, as_json: bool, sums_path: str | None) -> None:
        self.tally: Tally[Row] = Tally()
        self._json: BinaryIO | None = sys.stdout.buffer if as_json else None
        self._flush = as_json and sys.stdout.isatty()
        self._sums: BinaryIO | None = None
        self._sums_path = sums_path
        if sums_path == "-":
            self._sums = sys.stdout.buffer
        elif sums_path is not None:
            try:
                self._sums = open(sums_path, "wb")  # noqa: SIM115  # closed by `close`
            except OSError as error:
                raise self._unwritable(error) from error

    def write(self, record: Row) -> None:
        """Write one record."""
        self.tally.add(record)
        if self._json is not None:
            self._json.write(record.to_json())
            if self._flush:
                self._json.flush()
        if self._sums is not None:
            try:
                for digest, name in record.sums():
                    self._sums.write(sums.format_line(digest, os.fsencode(name)))
            except OSError as error:
                raise self._unwritable(error) from error

    def close(self) -> None:
        """Flush everything; what was written so far is whole lines."""
        try:
            if self._sums_path == "-":
                sys.stdout.flush()
            elif self._sums is not None:
                self._sums.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> exit_codes.Ended:
        name = "standard output" if self._sums_path in ("-", None) else str(self._sums_path)
        return exit_codes.Ended(exit_codes.OUTPUT_FAILED, f"{quote_name(name)}: {error.strerror or error}")
