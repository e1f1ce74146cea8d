"""Each C++ allocation of a scenario fails in its turn, in a child of its own: out_of_memory.py SCENARIO once|forever.

The library of tests/support/failing_new.cpp is preloaded. What is asked for then ends right or in MemoryError;
afterwards everything works, and nothing is left alive.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
import traceback

import offloop
from offloop import _core, hashing
from offloop.testing import spin

ALLOCATOR = ctypes.CDLL(None)
DATA = bytearray(range(256)) * 400
DIGEST = offloop.compute_sha256(DATA)
MOST_ALLOCATIONS = 2000
NONE_FAILED = 7


async def message() -> None:
    assert await offloop.sha256(DATA) == DIGEST


async def messages() -> None:
    operations = [offloop.sha256(DATA) for _ in range(5)]
    assert await asyncio.gather(*operations) == [DIGEST] * 5


async def other() -> None:
    assert len(await hashing.digest(DATA, "sha512")) == 64


async def file() -> None:
    assert len(await hashing.file_digest(sys.executable)) == 32


async def missing_file() -> None:
    try:
        await hashing.file_digest("/nowhere/at/all/with/a/name/that/is/not/short")
    except FileNotFoundError:
        pass


async def many() -> None:
    assert await offloop.sha256_many([DATA] * 50, max_concurrent=1) == [DIGEST] * 50


async def blocking() -> None:
    assert offloop.batch_hash([DATA] * 50, 2) == [DIGEST] * 50


async def spinning() -> None:
    await spin(0)


async def thrown() -> None:
    try:
        await _core._throw("runtime_error")
    except offloop.OffloopError:
        pass


async def refused() -> None:
    offloop.configure(max_pending=1, when_full="raise")
    first = spin(0.001)
    try:
        await offloop.sha256(DATA)
    except offloop.PoolSaturatedError:
        pass
    await first


async def unknown() -> None:
    try:
        await hashing.digest(DATA, "an algorithm whose name is long enough to be allocated")
    except ValueError:
        pass


async def cancelled() -> None:
    operations = [offloop.sha256(DATA) for _ in range(3)] + [hashing.digest(DATA, "md5") for _ in range(3)]
    for operation in operations:
        operation.cancel()
    await asyncio.gather(*operations, return_exceptions=True)


def free() -> bool:
    counts = _core.live_counts()
    return not (counts["operations"] or counts["buffers"] or counts["streams"] or offloop.stats()["in_flight"])


def attempt(scenario, n: int, forever: bool) -> int:
    """In the child, whose pool is a new one. Returns how many allocations have failed."""
    ALLOCATOR.failing_new_arm(n, int(forever))
    try:
        asyncio.run(scenario())
    except MemoryError:
        pass
    finally:
        failed = ALLOCATOR.failing_new_disarm()
    offloop.configure(max_pending=100, when_full="wait")
    deadline = time.monotonic() + 20
    while not free():
        assert time.monotonic() < deadline, (_core.live_counts(), offloop.stats())
        asyncio.run(asyncio.sleep(0.001))
    asyncio.run(messages())
    asyncio.run(file())
    return failed


def main(name: str, forever: bool) -> None:
    scenario = globals()[name]
    for n in range(MOST_ALLOCATIONS):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(40)
                code = 0 if attempt(scenario, n, forever) else NONE_FAILED
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == NONE_FAILED:
            assert n > 0, "no allocation was seen: is the library preloaded?"
            return
        assert code == 0, f"allocation {n} of {name}, {'and all after it' if forever else 'once'}: ended with {code}"
    raise AssertionError(f"{name} allocates without end")


main(sys.argv[1], sys.argv[2] == "forever")
print("ok")
