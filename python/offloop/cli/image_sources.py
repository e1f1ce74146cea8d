"""The pictures to work on: files, URLs, and what is a picture below folders."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from offloop import image
from offloop.cli.folders import files_below
from offloop.cli.image_names import is_url
from offloop.cli.listing import MAX_LINE_BYTES, CutLine

# Looked for at a time, in a thread: few enough to be cancelled soon, many enough to cost little.
_CHUNK = 64
# The signatures of all formats are within this.
_HEAD_BYTES = 256


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to be: a path or a URL as it was given or found, or what is wrong with it."""

    index: int
    name: str
    error: Exception | None = None


async def sources(
    batches: AsyncIterator[list[str]], leave_out: Callable[[os.DirEntry[str]], bool] = lambda entry: False
) -> AsyncIterator[Source]:
    """Yield what `batches` of paths and URLs stand for.

    Of a folder the pictures below it, by their first bytes whatever they are called; folders for which `leave_out` says
    so are not entered. A thread looks at the disk.
    """
    index = 0
    async for batch in batches:
        found = _expanded(batch, leave_out)
        while chunk := await asyncio.to_thread(_some, found):
            for name, error in chunk:
                yield Source(index, name, error)
                index += 1


def _some(found: Iterator[tuple[str, Exception | None]]) -> list[tuple[str, Exception | None]]:
    return list(islice(found, _CHUNK))


def _expanded(
    batch: list[str], leave_out: Callable[[os.DirEntry[str]], bool]
) -> Iterator[tuple[str, Exception | None]]:
    for name in batch:
        if isinstance(name, CutLine):
            yield name, ValueError(f"a path or URL of at most {MAX_LINE_BYTES} bytes expected, got a longer line")
        elif is_url(name) or not os.path.isdir(name):
            yield name, None
        else:
            for below, path in files_below(name, leave_out):
                if isinstance(path, Exception):
                    yield below, path
                elif _may_be_a_picture(path):
                    yield path, None


def _may_be_a_picture(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return image.detect(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return True  # to be reported by whoever reads it, rather than passed over
