"""Hashing off the event loop: messages and files, one or many.

Functions that return an :class:`offloop.Operation` are plain functions: the work starts when they are called in a
running event loop (or with the first ``await``), and the operation can be awaited, gathered, cancelled or given to a
TaskGroup.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import _core
from ._core import Operation, digest, file_digest, file_hexdigest, hexdigest, sha256

if TYPE_CHECKING:
    from ._types import Buffer

__all__ = [
    "algorithms_available",
    "batch_hash",
    "compute_sha256",
    "digest",
    "file_digest",
    "file_hexdigest",
    "hexdigest",
    "sha256",
    "sha256_many",
]

_PROGRESS_BYTES = 1_000_000


def algorithms_available() -> frozenset[str]:
    """The algorithms that :func:`digest` and the others take, by hashlib's names."""
    return frozenset(_core.algorithms())


def sha256_many(payloads: Iterable[Buffer], *, max_concurrent: int | None = None) -> Operation[list[str]]:
    """Hashes many messages as one operation.

    :param payloads: bytes-like objects, C-contiguous; not copied, so they must not change until the operation has
        ended.
    :param max_concurrent: at most so many worker threads at once; ``None`` for all.
    :returns: an operation that yields the hexadecimal SHA-256 digests in input order.
    :raises TypeError: a payload is not bytes-like; the message names its index. Nothing has been queued then.
    :raises ValueError: ``max_concurrent`` is not greater than 0.

    Buffers are taken and results made on the loop in slices of at most 1 ms, while workers hash. Cancelling drops what
    is queued; buffers in the hands of a worker are released when it is done with them.
    """
    return _core.sha256_many(payloads, max_concurrent)


def batch_hash(payloads: Iterable[Buffer], max_concurrent: int) -> list[str]:
    """Hashes many messages and waits for them; the GIL is released while it waits.

    :param payloads: bytes-like objects, C-contiguous, not copied.
    :param max_concurrent: at most so many worker threads at once.
    :returns: the hexadecimal SHA-256 digests in input order.
    :raises TypeError: a payload is not bytes-like.
    :raises ValueError: ``max_concurrent`` is not greater than 0.
    :raises KeyboardInterrupt: Ctrl-C is served while it runs; what is queued is dropped.

    Blocks the calling thread: in a coroutine use :func:`sha256_many`.
    """
    return _core.batch_hash(payloads, max_concurrent)


def compute_sha256(data: Buffer, report_progress: bool = False) -> str:
    """The hexadecimal SHA-256 of ``data``, computed on the calling thread with the GIL released.

    :param data: a bytes-like object, C-contiguous, not copied.
    :param report_progress: write to stderr what is being done: "Processing N byte payload..." first for payloads over
        1,000,000 bytes, and "SHA-256 computed in ..." at the end.
    :raises TypeError: ``data`` is not bytes-like.
    :raises BufferError: ``data`` is not C-contiguous (or ValueError: the exporter chooses).
    """
    if not report_progress:
        return _core.compute_sha256(data)
    try:
        with memoryview(data) as view:
            size = view.nbytes
    except TypeError:
        size = 0  # what is refused below, in the words that all functions have
    if size > _PROGRESS_BYTES:
        print(f"Processing {size} byte payload...", file=sys.stderr)
    started = time.perf_counter()
    result = _core.compute_sha256(data)
    print(f"SHA-256 computed in {_duration(time.perf_counter() - started)}", file=sys.stderr)
    return result


def _duration(seconds: float) -> str:
    """A duration in the unit that suits it: ``"12.3 us"``, ``"4.56 ms"``, ``"1.23 s"``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds:.2f} s"
