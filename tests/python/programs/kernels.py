"""Hashes through every way in and compares with hashlib: for OFFLOOP_CPU and OFFLOOP_THREADS."""

import asyncio
import hashlib
import random
import sys

import offloop


async def main() -> None:
    if sys.argv[1:] == ["threads"]:
        await offloop.sha256(bytes(1_000_000))
        print(offloop.stats()["threads"])
        return
    sizes = random.Random(7)
    messages = [sizes.randbytes(int(2 ** sizes.uniform(0, 18))) for _ in range(100)]
    messages += [sizes.randbytes(size) for size in range(130)] + [sizes.randbytes(n) for n in (65535, 65536, 65537)]
    expected = [hashlib.sha256(message).hexdigest() for message in messages]
    for count in (1, 2, 3, 7, 8, 9, 15, 16, 17, len(messages)):
        some = [bytearray(message) for message in messages[-count:]]
        assert await asyncio.gather(*map(offloop.sha256, some)) == expected[-count:], count
    assert await offloop.sha256_many(messages) == expected
    assert offloop.batch_hash(messages, 2) == expected
    assert [offloop.compute_sha256(message) for message in messages] == expected
    print("ok")


asyncio.run(main())
