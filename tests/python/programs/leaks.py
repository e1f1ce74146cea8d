"""Whether memory, references and objects are flat over very many operations: leaks.py KIND COUNT."""

import asyncio
import gc
import os
import sys
import sysconfig

import offloop
from offloop import hashing

# By way of the pool: no bytes object, so never hashed on the loop.
PAYLOAD = bytearray(range(256))
EXPECTED = offloop.compute_sha256(PAYLOAD)
BURST = 100
GROWTH_KIB = 1024
# What asyncio and the interpreter move themselves, once; a leak would be one for each of the operations.
INEXACT = {"references to None": 500, "objects": 50}
if sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info >= (3, 15):
    # There each thread counts a class's references for itself.
    INEXACT |= {"references to Operation": 1, "references to CancelledError": 1}


def resident_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def state(loop: asyncio.AbstractEventLoop) -> dict[str, int]:
    gc.collect()
    stats = offloop.stats()
    return {
        "references to the payload": sys.getrefcount(PAYLOAD),
        "references to the loop": sys.getrefcount(loop),
        "references to None": sys.getrefcount(None) if sys.version_info < (3, 12) else 0,  # immortal since
        "references to Operation": sys.getrefcount(offloop.Operation),
        "references to CancelledError": sys.getrefcount(asyncio.CancelledError),
        "objects": len(gc.get_objects()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "in flight": stats["in_flight"] + stats["parked"],
    }


async def values() -> None:
    operations = [offloop.sha256(PAYLOAD) for _ in range(BURST)]
    for operation in operations:
        assert await operation == EXPECTED


async def inline() -> None:
    for _ in range(BURST):
        await offloop.sha256(b"small")


async def tasks() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(BURST):
            group.create_task(offloop.sha256(PAYLOAD))


async def gathered() -> None:
    await asyncio.gather(*(hashing.digest(PAYLOAD, "md5") for _ in range(BURST)))


async def cancelled() -> None:
    operations = [offloop.sha256(PAYLOAD) for _ in range(BURST)]
    waiting = [operation.as_task() for operation in operations[::10]]
    await asyncio.sleep(0)
    for operation in operations:
        operation.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def dropped() -> None:
    for _ in range(BURST):
        offloop.sha256(PAYLOAD)
    await asyncio.sleep(0)


async def errors() -> None:
    operations = [hashing.file_digest("/nowhere/at/all") for _ in range(BURST)]
    for operation in operations:
        try:
            await operation
        except FileNotFoundError:
            pass


async def timeouts() -> None:
    for _ in range(BURST):
        try:
            await asyncio.wait_for(offloop.sha256(PAYLOAD), 0)
        except TimeoutError:
            pass


async def many() -> None:
    assert (await offloop.sha256_many([PAYLOAD] * BURST))[BURST - 1] == EXPECTED


async def shared() -> None:
    for _ in range(BURST // 4):
        operation = offloop.sha256(PAYLOAD)
        await asyncio.gather(operation.as_task(), operation.as_task(), operation.as_task(), operation)


async def callbacks() -> None:
    def called(_: object) -> None: ...

    operations = [offloop.sha256(PAYLOAD) for _ in range(BURST)]
    for operation in operations:
        operation.add_done_callback(called)
        operation.add_done_callback(print)
        operation.remove_done_callback(print)
    await asyncio.gather(*operations)


async def settle() -> None:
    while any(map(offloop.stats().get, ("in_flight", "queued", "parked"))):
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def main(kind: str, count: int) -> None:
    loop = asyncio.get_running_loop()
    work = globals()[kind]
    bursts = count // BURST
    # Warm-up: allocators, free lists, the window's first pages. A free-threaded CPython keeps about 8 MB of the first
    # 40,000 errors or so that are raised, those of asyncio's futures too, and then no more.
    keeps_errors = kind == "errors" and bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    for _ in range(3 * bursts if keeps_errors else max(50, bursts // 10)):
        await work()
    await settle()
    # Before 3.12 the keys of stats() that come and go make the table of interned strings grow, once, by half a
    # megabyte, and malloc keep the old one.
    for _ in range(20_000 if sys.version_info < (3, 12) else 0):
        offloop.stats()
    before, memory = state(loop), resident_kib()
    for _ in range(bursts):
        await work()
        await settle()  # how many dropped ones are still on their way must not depend on how busy the machine is
    after, grown = state(loop), resident_kib() - memory
    changed = {
        name: (before[name], after[name]) for name in before if abs(after[name] - before[name]) > INEXACT.get(name, 0)
    }
    assert not changed, changed
    assert grown < GROWTH_KIB, f"grew by {grown} KiB over {count} operations"


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
print("ok")
