"""Event loops that are not asyncio's: a clear error, and nothing left behind."""

import asyncio
import sys

import anyio
import trio

import offloop
from offloop import hashing
from offloop.testing import spin

DATA = bytes(range(256)) * 400
DIGEST = offloop.compute_sha256(DATA)

STARTS = (
    lambda: offloop.sha256(b"small"),
    lambda: offloop.sha256(DATA),
    lambda: hashing.digest(DATA, "md5"),
    lambda: offloop.sha256_many([DATA]),
)


async def refused() -> None:
    for start in STARTS:
        operation = start()
        said = ""
        try:
            await operation
        except RuntimeError as error:
            said = str(error)
        assert "no running event loop" in said, said
        assert "asyncio" in said, said
        assert operation.cancel()  # it has not started, and goes without a warning
    # What needs no loop works everywhere.
    assert offloop.batch_hash([DATA] * 5, 2) == [DIGEST] * 5
    assert offloop.compute_sha256(DATA) == DIGEST


async def taken() -> None:
    for start in STARTS[:2]:
        assert len(await start()) == 64
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(hash_one)
    with anyio.move_on_after(0.01) as scope:
        await spin(3600)
    assert scope.cancelled_caught
    try:
        with anyio.fail_after(0.01):
            await spin(3600)
    except TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")


async def hash_one() -> None:
    assert await offloop.sha256(DATA) == DIGEST


def through_trio() -> None:
    trio.run(refused)


def through_anyio_on_trio() -> None:
    anyio.run(refused, backend="trio")


def through_anyio_on_asyncio() -> None:
    anyio.run(taken, backend="asyncio")


def asyncio_beside_trio() -> None:
    """A thread with asyncio's loop serves a program of trio's."""

    async def main() -> None:
        digest = await trio.to_thread.run_sync(asyncio.run, hash_all())
        assert digest == [DIGEST] * 20

    async def hash_all() -> list[str]:
        return await asyncio.gather(*(offloop.sha256(DATA) for _ in range(20)))

    trio.run(main)


globals()[sys.argv[1]]()
print("ok")
