"""The folder of results: each is made in a hidden folder within it and moved to its name when it is complete."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time

import offloop
from offloop.cli.exit_codes import OUTPUT_FAILED, Ended
from offloop.cli.quoting import quote_name

# What was cancelled may be in the middle of writing its file.
_STOP_SECONDS = 2.0


class Place:
    """Where results go. Raises Ended (exit code 4) when that cannot be written to."""

    def __init__(self, folder: str, *, overwrite: bool) -> None:
        self._folder = folder
        self._overwrite = overwrite
        try:
            os.makedirs(folder, exist_ok=True)
            # Nobody else's: a name in it cannot be taken or redirected by a link.
            self._making = tempfile.mkdtemp(prefix=".offloop-", dir=folder)
            self._own = {_identity(os.stat(folder)), _identity(os.stat(self._making))}
        except OSError as error:
            raise unwritable(error, folder) from error

    def is_ours(self, entry: os.DirEntry[str]) -> bool:
        """Say whether a folder is this place: results are not to be taken for sources."""
        return _identity(entry.stat()) in self._own

    def path_while_made(self, index: int) -> str:
        """Return where the result of that index is to be written."""
        return os.path.join(self._making, str(index))

    def path_of(self, name: str) -> str:
        """Return where a result of that name ends up."""
        return os.path.join(self._folder, name)

    def refuse_taken(self, name: str) -> None:
        """Raise FileExistsError when `name` is there already and may not be replaced."""
        if not self._overwrite and os.path.lexists(self.path_of(name)):
            raise FileExistsError(17, "the result's file exists, and --overwrite was not given", self.path_of(name))

    def keep(self, index: int, name: str) -> str:
        """Move the result of that index to its name and return its path. FileExistsError as `refuse_taken`."""
        made, path = self.path_while_made(index), self.path_of(name)
        try:
            if not self._overwrite:
                self.refuse_taken(name)
                # Nobody gets in between: whoever has made the file owns the name.
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC))
            os.replace(made, path)
        except FileExistsError:
            os.unlink(made)
            raise
        except OSError as error:
            raise unwritable(error, path) from error
        return path

    def raise_if_ours(self, error: Exception) -> None:
        """Raise Ended when `error` is about writing here, not about a picture: the next one would fail as well."""
        if isinstance(error, OSError) and str(error.filename or "").startswith(self._making):
            raise unwritable(error, self._folder) from error

    async def close(self) -> None:
        """Remove what was not finished."""
        deadline = time.monotonic() + _STOP_SECONDS
        while offloop.stats()["running"] and time.monotonic() < deadline:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.005)
        shutil.rmtree(self._making, ignore_errors=True)


def unwritable(error: OSError, path: str) -> Ended:
    """Return the end of the program for an output that cannot be written."""
    return Ended(OUTPUT_FAILED, f"{quote_name(path)}: {error.strerror or error}")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
