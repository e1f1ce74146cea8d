"""Instructions by library and function, counted by valgrind's callgrind: they do not depend on who else is running."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

_POSITION = re.compile(r"[\d+*-]")


def is_installed() -> bool:
    return shutil.which("valgrind") is not None


def count(
    program: str,
    arguments: Sequence[str],
    out: Path,
    *,
    inside: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a Python program under callgrind, each thread into a file of its own beside `out`.

    :param inside: count only while a function is on the stack whose name matches this pattern ("drain*").
    """
    tool = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--compress-strings=no", "--compress-pos=no"]
    if inside is not None:
        tool += ["--collect-atstart=no", f"--toggle-collect={inside}"]
    command = [*tool, f"--callgrind-out-file={out}", sys.executable, "-X", "frozen_modules=on", "-c", program]
    subprocess.run([*command, *arguments], check=True, capture_output=True, env={**os.environ, **(environment or {})})


def of_thread(out: Path, number: int) -> Counter[tuple[str, str]]:
    """(library, function) to its own instructions, callees left out, of one thread; the loop's thread is number 1."""
    return _own_instructions(out.with_name(f"{out.name}-{number:02}"))


def of_all_threads(out: Path) -> Counter[tuple[str, str]]:
    """The same, all threads together."""
    found: Counter[tuple[str, str]] = Counter()
    for part in out.parent.glob(f"{out.name}-[0-9][0-9]"):
        found.update(_own_instructions(part))
    return found


def _own_instructions(path: Path) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    library = function = ""
    of_call = False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("ob="):
            library = Path(line[3:]).name
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            of_call = True  # the next line is the callee's, inclusive
        elif _POSITION.match(line):
            if not of_call:
                found[library, function] += int(line.split()[1])
            of_call = False
    return found
