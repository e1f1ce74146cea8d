"""The files below a folder, in an order that does not depend on the file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator


def files_below(
    folder: str, leave_out: Callable[[os.DirEntry[str]], bool] = lambda entry: False
) -> Iterator[tuple[str, str | Exception]]:
    """Yield regular files (links to files too, links to folders not) below `folder`, sorted by the bytes of the name.

    Each comes as its path twice; in place of the second an exception where a folder cannot be read. Folders for which
    `leave_out` says so are not entered. Keeps its own stack: folders may be nested deeper than Python's calls.
    """
    stack: list[tuple[str, bool]] = [(folder, True)]
    while stack:
        path, is_folder = stack.pop()
        if not is_folder:
            yield path, path
            continue
        try:
            with os.scandir(path) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name), reverse=True)
        except OSError as error:
            yield path, error
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if not leave_out(entry):
                    stack.append((entry.path, True))
            elif _is_file_or_broken(entry):
                stack.append((entry.path, False))


def _is_file_or_broken(entry: os.DirEntry[str]) -> bool:
    """Say yes to files, and to dangling links: those are reported rather than passed over. No to pipes and devices."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
