"""Two messages above 4 GiB at once, of different lengths: company for a lane of the wide kernels of OFFLOOP_CPU."""

import asyncio
import hashlib
import mmap

import offloop

LENGTHS = ((1 << 32) + 12_345, (1 << 32) + 64)


def zeros(size: int) -> mmap.mmap:
    """Of address space: every page is the kernel's page of zeros."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


async def main() -> None:
    messages = [zeros(length) for length in LENGTHS]
    expected = [hashlib.sha256(message).hexdigest() for message in messages]
    assert await asyncio.gather(*map(offloop.sha256, messages)) == expected
    print("ok")


asyncio.run(main())
