"""The folder in which the watchers (child.py) leave what they find, seen from outside the processes they watch."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from offloop.profiling import child, target


@contextlib.contextmanager
def made_folder() -> Iterator[Path]:
    """A new one, gone at the end. Whoever still writes there finds no folder and ends."""
    outer = Path(tempfile.mkdtemp(prefix="offloop-profile-"))
    folder = outer / "watchers"
    try:
        outer.chmod(0o711)  # the watched process may be another user's
        folder.mkdir(0o755)
        yield folder
    finally:
        # Under another name first: a file that is written just now would keep the folder from being removed.
        with contextlib.suppress(OSError):
            folder.rename(outer / "over")
        shutil.rmtree(outer, ignore_errors=True)


def ask_to_end(folder: Path) -> None:
    """All who write to the folder end soon."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(folder / child.END, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def wait_until_over(folder: Path, patience_s: float) -> None:
    """Until all who have written to the folder have written their last, or are gone."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until and not all(_is_over(path) for path in folder.glob("process-*.json")):
        time.sleep(0.01)


def _is_over(path: Path) -> bool:
    document = json.loads(path.read_text())
    return bool(document["over"]) or not target.lives(document["pid"])
