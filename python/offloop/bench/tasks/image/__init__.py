"""Resizing of photographs in memory: a large one to the size of a page, small ones to thumbnails, or the user's own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offloop.bench.model import Case, Contender, Missing, Running
from offloop.bench.tasks import contenders_of
from offloop.bench.tasks.hash import size_name

if TYPE_CHECKING:
    from offloop.bench.tasks.image.reference import Reference  # with Pillow

FILES = (
    "pillow_inline",
    "pillow_to_thread",
    "thread_pool",
    "process_pool",
    "uvloop_pillow",
    "pyvips_threads",
    "hybrid_each",
    "native_program",
)

LARGE, LARGE_WIDTH = (2725, 2225), 720  # sharp's benchmark picture
SMALL_SIDES, SMALL_QUALITY, SMALL_WIDTH = (500, 1400), 77, 256  # about 107 kB, as img2dataset's figures
_ROUND_ITEMS = 16
_JPEG = b"\xff\xd8\xff"
NO_PILLOW = "Pillow, which also makes and checks the pictures, is not installed (pip install 'offloop[bench]')"


@dataclass(frozen=True, slots=True)
class ImageWork:
    """What every contender of this task gets.

    Attributes:
        pictures: as JPEG, in memory.
        width: of the results; their height follows from the ratio of the sides.
        bursts: how often a round resizes them all.
        at_once: so many tasks that each take the next picture; None for one task a picture.
    """

    pictures: Sequence[bytes]
    width: int
    bursts: int
    at_once: int | None = None


def table(*, quick: bool, seed: int, at_once: int | None) -> Iterator[Case]:
    """Large photographs, then small ones. Where Pillow is missing: a case of gaps."""
    if not has_pillow():
        yield gaps("image", "photographs in memory", contenders_of(__name__, FILES))
        return
    different, count = (2, 4) if quick else (4, 16)
    made = large_photographs(different, seed)
    yield _case(_name(count, "2725x2225", made, LARGE_WIDTH), made * (count // different), LARGE_WIDTH, 1, at_once)
    made = small_photographs(16 if quick else 64, seed)
    yield _case(_name(len(made), "500 to 1400 px", made, SMALL_WIDTH), made, SMALL_WIDTH, 1, at_once)


def folder(path: Path, at_once: int | None) -> Case:
    """The JPEG files below `path`, to thumbnails. Raises OSError, or ValueError when there are none."""
    if not has_pillow():
        raise ValueError(NO_PILLOW)
    files = {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    found = {name: data for name, data in files.items() if data.startswith(_JPEG)}
    if not found:
        raise ValueError(f"{path}: expected JPEG files in it, found none")
    data, bursts = list(found.values()), max(1, _ROUND_ITEMS // len(found))
    name = f"{len(data)} JPEG of {path.name or path} to {SMALL_WIDTH} px"
    return _case(name, data, SMALL_WIDTH, bursts, at_once, names=list(found))


def large_photographs(count: int, seed: int) -> list[bytes]:
    """So many different ones of 6 megapixels."""
    from offloop.bench.tasks.image.photographs import photograph

    return [photograph(*LARGE, seed * 1000 + index) for index in range(count)]


def small_photographs(count: int, seed: int) -> list[bytes]:
    """So many different ones of different sizes."""
    from offloop.bench.tasks.image.photographs import photograph

    source = random.Random(seed)
    return [
        photograph(source.randint(*SMALL_SIDES), source.randint(*SMALL_SIDES), seed * 1000 + 100 + index, SMALL_QUALITY)
        for index in range(count)
    ]


def has_pillow() -> bool:
    """Whether Pillow can be imported."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def gaps(task: str, name: str, contenders: Sequence[Contender]) -> Case:
    """A case in which every contender is missing, for want of Pillow."""

    def open_(work: Any) -> AbstractContextManager[Running]:
        raise Missing(NO_PILLOW)

    return Case(task, name, 0, 0, 1, None, [], [replace(contender, open=open_) for contender in contenders])


def _name(count: int, what: str, pictures: Sequence[bytes], width: int) -> str:
    return f"{count} JPEG of {what}, {size_name(mean_size(pictures))}, to {width} px"


def mean_size(pictures: Sequence[bytes]) -> int:
    """In bytes, to three digits at most."""
    size = sum(map(len, pictures)) // len(pictures)
    unit = int(10 ** max(0, len(str(size)) - 3))
    return size // unit * unit


def _case(
    name: str,
    pictures: Sequence[bytes],
    width: int,
    bursts: int,
    at_once: int | None,
    names: Sequence[str] | None = None,
) -> Case:
    from offloop.bench.tasks.image.reference import judge

    return Case(
        task="image",
        name=name,
        items=len(pictures),
        total_bytes=sum(map(len, pictures)),
        bursts=bursts,
        work=ImageWork(pictures, width, bursts, at_once),
        expected=references(pictures, width, names),
        contenders=contenders_of(__name__, FILES),
        judge=judge,
    )


def references(pictures: Sequence[bytes], width: int, names: Sequence[str] | None = None) -> list[Reference]:
    """One for each picture; the same bytes share theirs. Raises ValueError, with the name, for what cannot be used."""
    from offloop.bench.tasks.image.reference import Reference

    found: dict[bytes, Reference] = {}
    for number, data in enumerate(pictures):
        if data not in found:
            try:
                found[data] = Reference(data, width)
            except (OSError, SyntaxError) as error:  # the latter is what Pillow raises of a broken header
                raise ValueError(f"{names[number] if names else f'picture {number}'}: {error}") from error
    return [found[data] for data in pictures]
