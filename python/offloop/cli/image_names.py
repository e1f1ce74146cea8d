"""Names for results: safe in any folder, each given once, the same for the same listing."""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import unquote, urlsplit

_NAMELESS = "picture"
# Of 255 bytes that a file system allows; the rest is for a number and the extension.
_MOST_BYTES = 120
_KEPT = frozenset(" ._-+()@,=~")
_EXTENSIONS = {"jpeg": "jpg", "tiff": "tif"}


def extension_of(format_name: str) -> str:
    """Return the usual extension of a format, without a dot."""
    return _EXTENSIONS.get(format_name, format_name)


def stem_of(source: str) -> str:
    """Return a name without extension for what is made of `source`, a path or an http(s) URL.

    It has no separator, no control character and no dot or dash in front, so that it cannot lead out of a folder, hide,
    or be taken for an option.
    """
    if is_url(source):
        # After decoding: %2e%2e%2f is a path as well.
        last = unquote(urlsplit(source).path).replace("\\", "/").rstrip("/").rpartition("/")[2]
    else:
        last = os.path.basename(source.rstrip("/"))
    stem = os.path.splitext(last)[0]
    stem = "".join(letter if letter.isalnum() or letter in _KEPT else "_" for letter in stem)
    stem = stem.encode()[:_MOST_BYTES].decode(errors="ignore").strip(" ").lstrip(".-~ ")
    return stem or _NAMELESS


def is_url(source: str) -> bool:
    """Say whether `source` is fetched rather than opened."""
    return source[:8].lower().startswith(("http://", "https://"))


class Names:
    """Gives each stem once: "a", then "a-2", "a-3". Those that differ in case alone count as the same.

    It remembers in a temporary database of SQLite's own, which goes to disk when it grows: memory stays flat.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;"
            "CREATE TABLE names (key TEXT PRIMARY KEY, given INTEGER) WITHOUT ROWID;"
        )

    def claim(self, stem: str) -> str:
        """Return `stem`, or with a number behind when it was given before."""
        if self._take(stem):
            return stem
        while True:
            (number,) = self._database.execute(
                "UPDATE names SET given = given + 1 WHERE key = ? RETURNING given", (stem.casefold(),)
            ).fetchone()
            if self._take(f"{stem}-{number}"):  # else a source has that very name
                return f"{stem}-{number}"

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _take(self, name: str) -> bool:
        inserted = self._database.execute("INSERT OR IGNORE INTO names VALUES (?, 1)", (name.casefold(),))
        return inserted.rowcount == 1
