"""Ctrl-C at various moments. Prints "running" when the signal may come, "interrupted" when it has arrived."""

import asyncio
import mmap
import signal
import sys
import threading
import time

import offloop
from offloop import hashing
from offloop.testing import spin

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


def twice_with_what_cannot_be_interrupted() -> None:
    """Eight operations that look at no stop token; the second Ctrl-C comes while the program waits for another one."""

    async def main() -> None:
        offloop.configure(threads=9)
        operations = [spin(60, cooperative=False) for _ in range(8)]
        while offloop.stats()["running"] < 8:
            await asyncio.sleep(0)
        print("running", flush=True)
        try:
            await asyncio.gather(*operations)
        finally:
            print("running", flush=True)
            await spin(60, cooperative=False)

    asyncio.run(main())


def during_compute_sha256() -> None:
    """It runs to its end, as hashlib does; then the interrupt is raised."""
    threading.Timer(0.01, print, args=("running",), kwargs={"flush": True}).start()
    try:
        while True:
            offloop.compute_sha256(GIGABYTE)
    except KeyboardInterrupt:
        print("computed", flush=True)
        raise


def in_a_drain() -> None:
    """The signal arrives while the loop delivers: asyncio.run() cancels its task, all others are delivered to."""
    seen: list[int] = []

    async def main() -> None:
        operations = await undelivered(10)
        for number, operation in enumerate(operations):
            operation.add_done_callback(lambda _, number=number: seen.append(number))
        operations[3].add_done_callback(lambda _: signal.raise_signal(signal.SIGINT))
        try:
            await spin(60)
        finally:
            await asyncio.sleep(0)
            assert sorted(seen) == list(range(10)), seen

    asyncio.run(main())


def twice_in_a_drain() -> None:
    """KeyboardInterrupt comes out of the drain itself: who has not been delivered to yet is not lost."""
    loop = asyncio.new_event_loop()
    seen: list[int] = []

    def interrupt(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> list[offloop.Operation[str]]:
        operations = await undelivered(10)
        for number, operation in enumerate(operations):
            operation.add_done_callback(lambda _, number=number: seen.append(number))
        for operation in operations[3:5]:
            operation.add_done_callback(interrupt)
        return operations

    operations = loop.run_until_complete(main())
    interrupts = 0
    while len(seen) < 10:
        try:
            loop.run_until_complete(asyncio.sleep(0.001))
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts == 2, interrupts
    assert sorted(seen) == list(range(10)), seen
    assert all(operation.done() for operation in operations)
    assert len(loop.run_until_complete(offloop.sha256(b"x" * 100_000))) == 64
    loop.close()
    raise KeyboardInterrupt


async def undelivered(count: int) -> list[offloop.Operation[str]]:
    """Operations that have ended on the native side and that the loop has not heard of."""
    before = offloop.stats()["done"]
    operations = [offloop.sha256(bytearray(100_000)) for _ in range(count)]
    while offloop.stats()["done"] < before + count:
        time.sleep(0.001)
    return operations


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

    def handler(*_: object) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGINT, handler)
    try:
        during_batch_hash()
    except ZeroDivisionError:
        raise KeyboardInterrupt from None


def handler_returns() -> None:
    """A handler that only notes the signal does not end batch_hash: its result is complete."""
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
