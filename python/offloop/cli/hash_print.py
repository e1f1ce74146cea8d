"""``offloop hash PATH...``: one line for each file, in the order of the arguments."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offloop import sums
from offloop.cli import exit_codes
from offloop.cli.file_window import HashedFile, hash_in_order, reason, run_interruptible
from offloop.cli.folders import files_below
from offloop.cli.hash import report
from offloop.cli.quoting import quote_name


@dataclass(frozen=True, slots=True)
class PrintOptions:
    """The options of the command line that say what to print."""

    algorithm: str
    tag: bool
    zero: bool
    binary: bool
    recursive: bool
    as_json: bool


def print_digests(paths: Sequence[str], options: PrintOptions) -> int:
    """Print the digests of `paths`; return the exit code."""
    return run_interruptible(lambda: _print_digests(paths, options))


async def _print_digests(paths: Sequence[str], options: PrintOptions) -> int:
    exit_code = exit_codes.ALL_OK
    out = sys.stdout.buffer
    interactive = sys.stdout.isatty()
    async for file in hash_in_order(_files(paths, options.recursive), options.algorithm):
        if file.error is not None:
            exit_code = exit_codes.SOME_FAILED
            report(f"{quote_name(file.key)}: {reason(file.error)}")
        if file.error is None or options.as_json:
            out.write(_line(file, options))
            if interactive:
                out.flush()
    return exit_code


def _line(file: HashedFile[str], options: PrintOptions) -> bytes:
    if options.as_json:
        return _json_line(file, options.algorithm)
    assert file.digest is not None  # a failed file has no line of this kind
    return sums.format_line(
        file.digest,
        os.fsencode(file.key),
        algorithm=options.algorithm,
        tag=options.tag,
        zero=options.zero,
        binary=options.binary,
    )


def _json_line(file: HashedFile[str], algorithm: str) -> bytes:
    record: dict[str, object] = {"path": file.key, "algorithm": algorithm}
    if file.error is None:
        record["digest"] = file.digest
    else:
        record["error"] = reason(file.error)
    return json.dumps(record).encode() + b"\n"  # ASCII: bytes that are no text are \udcXX, as Python reads them


def _files(paths: Sequence[str], recursive: bool) -> Iterator[tuple[str, str | Exception]]:
    """Yield the files to hash with the names to print; an exception where a folder cannot be read."""
    for path in paths:
        if recursive and path != "-" and os.path.isdir(path):
            yield from files_below(path)
        else:
            yield path, path
