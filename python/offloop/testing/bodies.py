"""The origin's bodies: any number of bytes from a seed, the same on every machine, and never whole in memory.

A test knows the digest of ``/bytes/N?seed=S`` without fetching it: ``body_sha256(N, S)``.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

BLOCK_BYTES = 256 * 1024
MAX_BODY_BYTES = 1 << 30

_MARK_BYTES = 16
# Below, making just the bytes asked for is cheaper than keeping a whole block of each seed.
_SMALL_BYTES = 64 * 1024


def body_blocks(n: int, seed: int | str = 0) -> Iterator[memoryview]:
    """Yield the `n` bytes of the body that `seed` names, in pieces of at most 256 KiB.

    Bodies of one seed are prefixes of each other. No two 256 KiB blocks are alike, so that a digest notices blocks that
    were swapped, repeated or left out. Raises ValueError when `n` is negative or above 1 GiB.
    """
    if not 0 <= n <= MAX_BODY_BYTES:
        raise ValueError(f"n must be from 0 to {MAX_BODY_BYTES} bytes, got {n}")
    if n < _SMALL_BYTES:
        if n:
            yield memoryview(_pattern(str(seed), n))
        return
    pattern = memoryview(_full_pattern(str(seed)))
    for index in range(-(-n // BLOCK_BYTES)):
        size = min(BLOCK_BYTES, n - index * BLOCK_BYTES)
        if index == 0:
            yield pattern[:size]
            continue
        mark = memoryview(_block_mark(str(seed), index))[:size]
        yield mark
        if size > _MARK_BYTES:
            yield pattern[_MARK_BYTES:size]


def body_bytes(n: int, seed: int | str = 0) -> bytes:
    """Return the `n` bytes of the body that `seed` names (see `body_blocks`), in one piece."""
    return b"".join(body_blocks(n, seed))


@lru_cache(maxsize=4096)
def body_sha256(n: int, seed: int | str = 0) -> str:
    """Return the SHA-256 of ``body_bytes(n, seed)`` in hexadecimal, without holding the body."""
    digest = hashlib.sha256()
    for block in body_blocks(n, seed):
        digest.update(block)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def png_image(width: int = 64, height: int = 64) -> bytes:
    """Return a small, valid 8-bit RGB PNG (a colour gradient) of `width` x `height` pixels."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # filter type 0 of this row
        for x in range(width):
            rows += bytes((x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), 128))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", zlib.compress(bytes(rows), 9)),
            _png_chunk(b"IEND", b""),
        )
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pattern(seed: str, n: int) -> bytes:
    # An extendable-output function: the first n bytes do not depend on how many are asked for.
    return hashlib.shake_128(b"offloop origin " + seed.encode("utf-8", "surrogateescape")).digest(n)


@lru_cache(maxsize=32)
def _full_pattern(seed: str) -> bytes:
    return _pattern(seed, BLOCK_BYTES)


def _block_mark(seed: str, index: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{index}".encode("utf-8", "surrogateescape"), digest_size=_MARK_BYTES).digest()
