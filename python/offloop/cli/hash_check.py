"""``offloop hash --check FILE...``: reads checksum files and says for each name whether its digest is right."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from offloop import sums
from offloop.cli import exit_codes
from offloop.cli.file_window import HashedFile, hash_in_order, reason, run_interruptible
from offloop.cli.hash import report
from offloop.cli.quoting import quote_name


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of the command line that say how to check."""

    algorithm: str
    zero: bool
    as_json: bool
    ignore_missing: bool
    quiet: bool
    status: bool
    strict: bool
    warn: bool


@dataclass(slots=True)
class _Counts:
    proper: int = 0
    improper: int = 0
    unreadable: int = 0
    mismatched: int = 0
    matched: int = 0


def check_files(paths: Sequence[str], options: CheckOptions) -> int:
    """Check what the checksum files `paths` list; return the exit code."""
    return run_interruptible(lambda: _check_files(paths, options))


async def _check_files(paths: Sequence[str], options: CheckOptions) -> int:
    worst = exit_codes.ALL_OK
    for path in paths:
        worst = max(worst, await _check_file(path, options))
    return worst


async def _check_file(path: str, options: CheckOptions) -> int:
    shown = quote_name("standard input" if path == "-" else path)
    counts = _Counts()
    try:
        with _open(path) as file:
            async for result in hash_in_order(_entries(file, path, options), options.algorithm):
                if isinstance(result.key, sums.SumEntry):
                    _judge(result.key, result, counts, options)
                else:
                    _note_improper(result.key, shown, counts, options)
    except _ListUnreadable as unreadable:
        report(f"{quote_name(path) if path != '-' else shown}: {reason(unreadable.error)}")
        return exit_codes.INPUT_UNREADABLE
    _summarize(shown, counts, options)
    good = counts.matched and not counts.mismatched and not counts.unreadable
    return exit_codes.ALL_OK if good and not (options.strict and counts.improper) else exit_codes.SOME_FAILED


# --- the list -------------------------------------------------------------------------------------------------------


class _ListUnreadable(Exception):
    """The checksum file itself cannot be read; kept apart from the errors of files and of the output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Source(io.RawIOBase):
    """A checksum file whose read errors say that they are its own."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        try:
            return self._file.readinto(buffer)
        except OSError as error:
            raise _ListUnreadable(error) from error

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(path: str) -> BinaryIO:
    try:
        file = io.FileIO(0, closefd=False) if path == "-" else io.FileIO(path)
    except OSError as error:
        raise _ListUnreadable(error) from error
    return io.BufferedReader(_Source(file), 64 * 1024)


class _Improper(Exception):
    """Stands where a bad line has no file, so that its warning comes in the order of the lines."""


def _entries(
    file: BinaryIO, path: str, options: CheckOptions
) -> Iterator[tuple[sums.SumEntry | sums.BadLine, str | Exception]]:
    for entry in sums.SumsReader(file, options.algorithm, zero=options.zero):
        if isinstance(entry, sums.BadLine):
            yield entry, _Improper()
        elif path == "-" and entry.name == b"-":
            # A list on standard input cannot ask for the digest of standard input.
            yield sums.BadLine(entry.line_number), _Improper()
        else:
            yield entry, os.fsdecode(entry.name)


# --- results --------------------------------------------------------------------------------------------------------


def _note_improper(line: sums.BadLine, shown: str, counts: _Counts, options: CheckOptions) -> None:
    counts.improper += 1
    if options.warn:
        kind = sums.tag_of(options.algorithm)
        report(f"{shown}: {line.line_number}: improperly formatted {kind} checksum line")


def _judge(entry: sums.SumEntry, file: HashedFile[Any], counts: _Counts, options: CheckOptions) -> None:
    counts.proper += 1
    if file.error is not None:
        if options.ignore_missing and isinstance(file.error, FileNotFoundError):
            return
        counts.unreadable += 1
        report(f"{quote_name(file.path)}: {reason(file.error)}")
        _print(entry, file, "FAILED open or read", "unreadable", options)
    elif file.digest == entry.digest:
        counts.matched += 1
        if not options.quiet:
            _print(entry, file, "OK", "ok", options)
    else:
        counts.mismatched += 1
        _print(entry, file, "FAILED", "mismatch", options)


def _print(entry: sums.SumEntry, file: HashedFile[Any], word: str, status: str, options: CheckOptions) -> None:
    if options.status:
        return
    if options.as_json:
        record: dict[str, object] = {"path": file.path, "status": status, "expected": entry.digest}
        record.update({"digest": file.digest} if file.error is None else {"error": reason(file.error)})
        line = json.dumps(record).encode()
    else:
        # As sha256sum does it while checking: only a newline makes it escape the name.
        prefix, name = sums.escape_name(entry.name) if b"\n" in entry.name else (b"", entry.name)
        line = b"%b%b: %b" % (prefix, name, word.encode())
    sys.stdout.buffer.write(line + b"\n")
    if sys.stdout.isatty():
        sys.stdout.buffer.flush()


def _summarize(shown: str, counts: _Counts, options: CheckOptions) -> None:
    if counts.proper == 0:
        report(f"{shown}: no properly formatted checksum lines found")
        return
    if options.status:
        return
    for count, one, many in (
        (counts.improper, "line is improperly formatted", "lines are improperly formatted"),
        (counts.unreadable, "listed file could not be read", "listed files could not be read"),
        (counts.mismatched, "computed checksum did NOT match", "computed checksums did NOT match"),
    ):
        if count:
            report(f"WARNING: {count} {one if count == 1 else many}")
    if options.ignore_missing and not counts.matched:
        report(f"{shown}: no file was verified")
