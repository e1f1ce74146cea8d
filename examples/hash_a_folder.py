"""Hash the files below a folder, a bounded number at a time, and print lines that `sha256sum --check` reads.

usage: python hash_a_folder.py [FOLDER]
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from offloop import hashing, sums

IN_FLIGHT = 64


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


async def main(folder: Path) -> None:
    window = deque()
    for path in files_below(folder):
        window.append((path, hashing.file_hexdigest(path)))  # starts now, is awaited below
        if len(window) == IN_FLIGHT:
            await print_next(window)
    while window:
        await print_next(window)


async def print_next(window: deque) -> None:
    path, operation = window.popleft()
    try:
        sys.stdout.buffer.write(sums.format_line(await operation, os.fsencode(path)))
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)


asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
