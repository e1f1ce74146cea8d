"""Ctrl-C at various moments. Prints "running" when the signal may come, "interrupted" when it has arrived."""

import asyncio
import mmap
import sys
import time

import offloop
from offloop import hashing

GIGABYTE = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


async def started() -> None:
    while offloop.stats()["running"] == 0:
        await asyncio.sleep(0)
    print("running", flush=True)


def during_await() -> None:
    async def main() -> None:
        operations = [hashing.digest(GIGABYTE, "sha3_512") for _ in range(8)]
        await started()
        await asyncio.gather(*operations)

    asyncio.run(main())


def during_many() -> None:
    async def main() -> None:
        operation = offloop.sha256_many([GIGABYTE] * 500)
        await started()
        await operation

    asyncio.run(main())


def during_batch_hash() -> None:
    payloads = [GIGABYTE] * 500
    print("running", flush=True)
    offloop.batch_hash(payloads, 2)


def twice() -> None:
    """The second Ctrl-C comes while the program cleans up after the first."""

    async def main() -> None:
        operations = [hashing.digest(GIGABYTE, "sha3_512") for _ in range(8)]
        await started()
        try:
            await asyncio.gather(*operations)
        finally:
            print("running", flush=True)
            while True:
                await offloop.sha256(b"x" * 100_000)

    asyncio.run(main())


def cleanup_may_submit() -> None:
    async def main() -> None:
        operation = hashing.digest(GIGABYTE, "sha3_512")
        await started()
        try:
            await operation
        finally:
            assert len(await offloop.sha256(b"x" * 100_000)) == 64
            print("cleaned", flush=True)

    asyncio.run(main())


def usable_afterwards() -> None:
    try:
        during_batch_hash()
    except KeyboardInterrupt:
        assert offloop.batch_hash([b"x"] * 5, 2) == [offloop.compute_sha256(b"x")] * 5
        assert len(asyncio.run(offloop.sha256(b"x" * 100_000))) == 64
        GIGABYTE.close()  # BufferError, if something still held it
        raise


def handler_raises() -> None:
    """An exception of the program's own handler ends batch_hash as KeyboardInterrupt does."""
    import signal

    def handler(*_: object) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGINT, handler)
    try:
        during_batch_hash()
    except ZeroDivisionError:
        raise KeyboardInterrupt from None


def handler_returns() -> None:
    """A handler that only notes the signal does not end batch_hash: its result is complete."""
    import signal

    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(time.monotonic()))
    payloads = [bytes(1_000_000)] * 50
    expected = [offloop.compute_sha256(payloads[0])] * 50
    print("running", flush=True)
    while not seen:
        assert offloop.batch_hash(payloads, 2) == expected
    raise KeyboardInterrupt


try:
    globals()[sys.argv[1]]()
except KeyboardInterrupt:
    print("interrupted", flush=True)
