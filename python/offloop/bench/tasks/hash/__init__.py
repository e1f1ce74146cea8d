"""SHA-256 of payloads in memory: the classic table, many small ones, mixed sizes, or a folder of the user's."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offloop.bench.model import Case
from offloop.bench.tasks import contenders_of

FILES = (
    "asyncio_inline",
    "asyncio_to_thread",
    "thread_pool",
    "process_pool",
    "interpreter_pool",
    "uvloop_inline",
    "hybrid_each",
    "hybrid_many",
    "native_program",
    "blake3_package",
)

KB, MB = 1000, 1_000_000
SIZES = (1 * KB, 10 * KB, 100 * KB, 1 * MB, 10 * MB)
COUNT = 100
QUICK_COUNT = 20  # of payloads of 1 MB and above
# A round of fewer bytes, or of fewer payloads, than these is over before the clock can tell; it repeats its burst.
ROUND_BYTES = 20 * MB
ROUND_ITEMS = 2000
MIXED_LARGEST = 1 * MB


@dataclass(frozen=True, slots=True)
class HashWork:
    """What every contender of this task gets.

    Attributes:
        payloads: all different, each in memory of its own.
        bursts: how often a round hashes them all.
        at_once: so many tasks that each take the next payload; None for one task a payload.
    """

    payloads: Sequence[bytes]
    bursts: int
    at_once: int | None = None


def hash_here(payload: bytes) -> str:
    """The reference, and what the asyncio contenders call."""
    return hashlib.sha256(payload).hexdigest()


def table(sizes: Sequence[int], *, quick: bool, seed: int, at_once: int | None) -> Iterator[Case]:
    """The classic table: 100 payloads a size (quick: 20 of 1 MB and above), one task each."""
    for size in sizes:
        count = QUICK_COUNT if quick and size >= MB else COUNT
        yield _case("hash", f"{count} x {size_name(size)}", payloads(count, size, seed), at_once)


def small(*, quick: bool, seed: int, at_once: int | None) -> Iterator[Case]:
    """The long form of the table's small sizes: 100 of 1 KB last a third of a millisecond, which says little."""
    count = 2000 if quick else 20_000
    for size in (1 * KB, 10 * KB):
        yield _case("small", f"{count} x {size_name(size)}", payloads(count, size, seed), at_once)


def mixed(*, quick: bool, seed: int, at_once: int | None) -> Case:
    """Payloads of 1 byte to 1 MB, log-uniform."""
    source = random.Random(seed)
    count = 200 if quick else 2000
    sizes = [round(math.exp(source.uniform(0, math.log(MIXED_LARGEST)))) for _ in range(count)]
    return _case("mixed", f"{count} of 1 B to 1 MB", [source.randbytes(size) for size in sizes], at_once)


def folder(path: Path, at_once: int | None) -> Case:
    """The files below `path`, as payloads. Raises OSError, or ValueError when there are none."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if not files:
        raise ValueError(f"{path}: expected files in it, found none")
    data = [file.read_bytes() for file in files]
    return _case("hash", f"{len(data)} files of {path.name or path}", data, at_once)


def payloads(count: int, size: int, seed: int) -> list[bytes]:
    """`count` different payloads of `size` random bytes."""
    base = random.Random(seed).randbytes(size)
    head = min(8, size)
    return [index.to_bytes(8, "big")[-head:] + base[head:] if head else b"" for index in range(count)]


def size_name(size: int) -> str:
    """1 KB are 1000 bytes."""
    for name, unit in (("MB", MB), ("KB", KB)):
        if size >= unit and size % (unit // 10) == 0:
            return f"{size / unit:g} {name}"
    return f"{size} B"


def _case(task: str, name: str, data: Sequence[bytes], at_once: int | None) -> Case:
    total = sum(map(len, data))
    bursts = max(1, min(ROUND_BYTES // max(1, total), ROUND_ITEMS // len(data)))
    return Case(
        task=task,
        name=name,
        items=len(data),
        total_bytes=total,
        bursts=bursts,
        work=HashWork(data, bursts, at_once),
        expected=[hash_here(payload) for payload in data],
        contenders=contenders_of(__name__, FILES),
    )
