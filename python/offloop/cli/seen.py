"""Results by URL, so that a URL listed twice is fetched once: exact for listings of any length, in bounded memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from operator import attrgetter

from offloop.cli.exit_codes import OUTPUT_FAILED, Ended
from offloop.cli.quoting import quote_name
from offloop.cli.record import Record

# About 60 MB of records; listings below that never touch the disk.
IN_MEMORY = 100_000
# Moved to the file at a time: enough for a cheap transaction, few enough not to hold up the event loop (about 5 ms).
_SPILL = 1000

_values_of = attrgetter(
    *(field.name for field in fields(Record))
)  # dataclasses.astuple copies deeply: ten times slower


class Seen:
    """A map from URL to its record. The newest `in_memory` are held; older ones go to a temporary SQLite file.

    The file has no name once it is open, so it disappears with the process however that ends. Methods raise Ended (exit
    code 4) when it cannot be written or read.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._limit = in_memory
        self._recent: dict[str, Record] = {}
        self._database: sqlite3.Connection | None = None

    def get(self, url: str) -> Record | None:
        """Return the record kept for `url`, if there is one."""
        record = self._recent.get(url)
        if record is None and self._database is not None:
            with _disk_errors():
                row = self._database.execute("SELECT record FROM seen WHERE key = ?", (_key(url),)).fetchone()
            if row is not None:
                record = Record(*pickle.loads(row[0]))  # written by this very process
        return record

    def put(self, record: Record) -> None:
        """Keep `record` for its URL."""
        self._recent[record.url] = record
        if len(self._recent) > self._limit:
            with _disk_errors():
                self._spill()

    def close(self) -> None:
        """Forget everything."""
        self._recent.clear()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _spill(self) -> None:
        """Move the oldest to the file."""
        database = self._open()
        older = list(islice(self._recent, _SPILL))
        with database:
            database.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?)",
                ((_key(url), pickle.dumps(_values_of(self._recent.pop(url)))) for url in older),
            )

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            fd, path = tempfile.mkstemp(prefix="offloop-seen-")
            os.close(fd)
            self._database = sqlite3.connect(path)
            # Scratch data of this process: nothing of it has to survive a crash, so nothing is synced or logged.
            self._database.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;"
                "CREATE TABLE seen (key BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID;"
            )
            os.unlink(path)
        return self._database


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        where = tempfile.gettempdir()
        raise Ended(OUTPUT_FAILED, f"the temporary file of results in {quote_name(where)} failed: {error}") from error


def _key(url: str) -> bytes:
    return hashlib.blake2b(os.fsencode(url), digest_size=16).digest()
