"""Checksum files: reading and writing the formats of ``sha256sum`` (GNU coreutils 9.1), byte for byte.

| format                   | written by            | escapes                                                  |
|--------------------------|-----------------------|----------------------------------------------------------|
| ``HASH  NAME``           | ``sha256sum``         | a leading ``\\``, then ``\\\\``, ``\\n``, ``\\r`` in the name |
| ``HASH *NAME``           | ``sha256sum -b``      | the same                                                 |
| ``SHA256 (NAME) = HASH`` | ``sha256sum --tag``   | the same                                                 |
| each, ended by NUL       | ``-z``                | none                                                     |
| ``HASH NAME``            | BSD's ``sha256 -r``   | read only, and never mixed with the first two            |

Names are bytes, as the file system has them; `os.fsencode` and `os.fsdecode` lead to text and back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["BadLine", "SumEntry", "SumsReader", "escape_name", "format_line", "tag_of"]

# The longest line that is read: a path of 4096 bytes, each escaped, fits many times. Longer ones are improper.
MAX_LINE_BYTES = 1 << 20

_TAGS = {"blake2b": "BLAKE2b", "blake2s": "BLAKE2s"}
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_UNESCAPES = {ord("\\"): b"\\", ord("n"): b"\n", ord("r"): b"\r"}
_HEX = frozenset(b"0123456789abcdefABCDEF")
_WHITE = b" \t"


@dataclass(frozen=True, slots=True)
class SumEntry:
    """One proper line: the expected digest in lower-case hexadecimal, and the name that it belongs to."""

    digest: str
    name: bytes
    line_number: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is none of the formats; comments (``#`` comes first) and empty lines are passed over instead."""

    line_number: int


def tag_of(algorithm: str) -> str:
    """Return what ``--tag`` calls an algorithm: "SHA256" for "sha256", "SHA3-256" for "sha3_256"."""
    return _TAGS.get(algorithm, algorithm.upper().replace("_", "-"))


def escape_name(name: bytes) -> tuple[bytes, bytes]:
    """Return the prefix of the line (a backslash or nothing) and the name with its escapes."""
    if not any(character in name for character in _ESCAPES):
        return b"", name
    for character, escaped in _ESCAPES.items():  # the backslash comes first
        name = name.replace(character, escaped)
    return b"\\", name


def format_line(
    digest: str,
    name: bytes,
    *,
    algorithm: str = "sha256",
    tag: bool = False,
    zero: bool = False,
    binary: bool = False,
) -> bytes:
    """Return the line for `name`, with its end: a newline, or NUL without any escapes when `zero`.

    `tag` asks for the form with the algorithm's name, `binary` for the asterisk. Raises ValueError when `name` is
    empty or holds a NUL, which no file name can.
    """
    if not name or b"\0" in name:
        raise ValueError(f"name must be a file name without NUL bytes, got {name!r}")
    prefix, name = (b"", name) if zero else escape_name(name)
    end = b"\0" if zero else b"\n"
    if tag:
        return b"%b%b (%b) = %b%b" % (prefix, tag_of(algorithm).encode(), name, digest.encode(), end)
    return b"%b%b %b%b%b" % (prefix, digest.encode(), b"*" if binary else b" ", name, end)


class SumsReader:
    """Iterates over a checksum file: a `SumEntry` for each proper line, a `BadLine` for each improper one.

    The file is read line by line, so its size does not matter. One reader reads one file: which of the formats
    "HASH NAME" and "HASH  NAME" came first decides how the rest is read, so that mixing them cannot rename files.

    Args:
        file: open in binary mode.
        algorithm: decides the number of digits and the tag that are accepted.
        zero: lines end with NUL and have no escapes, as ``-z`` writes them.

    Raises OSError when the file cannot be read, ValueError for an algorithm without a fixed digest size.
    """

    def __init__(self, file: BinaryIO, algorithm: str = "sha256", *, zero: bool = False) -> None:
        self._file = file
        self._zero = zero
        self._tag = tag_of(algorithm).encode()
        self._digits = 2 * hashlib.new(algorithm).digest_size
        if self._digits == 0:
            raise ValueError(f"algorithm must have a fixed digest size, got {algorithm!r}")
        # None until the first line that tells; then True ("HASH NAME") or False ("HASH  NAME", "HASH *NAME").
        self._one_space: bool | None = None

    def __iter__(self) -> Iterator[SumEntry | BadLine]:
        lines = self._nul_lines() if self._zero else self._lines()
        for number, line in enumerate(lines, 1):
            if line is None:
                yield BadLine(number)
                continue
            if line.startswith(b"#"):
                continue
            text = line if self._zero else line.removesuffix(b"\n").removesuffix(b"\r")
            if not text:
                continue
            parts = self._split(text)
            yield BadLine(number) if parts is None else SumEntry(parts[0].decode().lower(), parts[1], number)

    # --- lines; None stands for one that is too long ---

    def _lines(self) -> Iterator[bytes | None]:
        while line := self._file.readline(MAX_LINE_BYTES):
            if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
                yield line
                continue
            while (rest := self._file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None

    def _nul_lines(self) -> Iterator[bytes | None]:
        pending = b""
        too_long = False
        while piece := self._file.read(64 * 1024):
            *whole, pending = (pending + piece).split(b"\0")
            for line in whole:
                yield None if too_long else line
                too_long = False
            if len(pending) > MAX_LINE_BYTES:
                pending, too_long = b"", True
        if pending or too_long:
            yield None if too_long else pending

    # --- one line ---

    def _split(self, line: bytes) -> tuple[bytes, bytes] | None:
        line = line.lstrip(_WHITE)
        escaped = not self._zero and line.startswith(b"\\")
        if escaped:
            line = line[1:]
        parts = self._split_tagged(line) if line.startswith(self._tag) else self._split_plain(line)
        if parts is None:
            return None
        digest, name = parts
        unescaped = _unescape(name) if escaped else name
        # Where sha256sum would cut a name at its NUL, the line is improper here: it names no file.
        if unescaped is None or b"\0" in unescaped:
            return None
        return digest, unescaped

    def _split_tagged(self, line: bytes) -> tuple[bytes, bytes] | None:
        rest = line[len(self._tag) :].removeprefix(b" ")
        if not rest.startswith(b"("):
            return None
        name, parenthesis, rest = rest[1:].rpartition(b")")
        rest = rest.lstrip(_WHITE)
        if not parenthesis or not rest.startswith(b"="):
            return None
        digest = rest[1:].lstrip(_WHITE)
        return (digest, name) if self._is_digest(digest) else None

    def _split_plain(self, line: bytes) -> tuple[bytes, bytes] | None:
        digest, rest = line[: self._digits], line[self._digits :]
        if len(rest) < 2 or rest[:1] not in (b" ", b"\t") or not self._is_digest(digest):
            return None
        rest = rest[1:]
        if len(rest) == 1 or rest[:1] not in (b" ", b"*"):
            if self._one_space is False:
                return None
            self._one_space = True
        elif not self._one_space:
            self._one_space = False
            rest = rest[1:]
        return digest, rest

    def _is_digest(self, digest: bytes) -> bool:
        return len(digest) == self._digits and _HEX.issuperset(digest)


def _unescape(name: bytes) -> bytes | None:
    """Undo `escape_name`; None when an escape is none of the three."""
    first, *others = name.split(b"\\")
    out = [first]
    position = 0
    while position < len(others):
        part = others[position]
        if part:
            meaning = _UNESCAPES.get(part[0])
            if meaning is None or part[0] == ord("\\"):
                return None
            out += (meaning, part[1:])
            position += 1
        else:  # two backslashes in a row; a single one at the end means nothing
            if position + 1 == len(others):
                return None
            out += (b"\\", others[position + 1])
            position += 2
    return b"".join(out)
