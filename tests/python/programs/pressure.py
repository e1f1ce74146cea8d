"""Back-pressure over a whole process: memory, and several loops."""

import asyncio
import os
import sys
import threading

import offloop
from offloop import hashing

DATA = bytes(range(256)) * 100


def resident_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4


def flat() -> None:
    payload = bytearray(b"never hashed inline, for it is no bytes" * 10)

    async def main() -> None:
        after_warm_up = 0
        # 200,000 in all, 10,000 at a time over a limit of 2,048.
        for turn in range(20):
            await asyncio.gather(*(offloop.sha256(payload) for _ in range(5_000)))
            for _ in range(5_000):
                offloop.sha256(payload)  # dropped at once
            await asyncio.sleep(0)
            if turn == 4:
                after_warm_up = resident_kib()
        grown = resident_kib() - after_warm_up
        assert grown < 8 * 1024, f"grew by {grown} KiB over 150,000 operations"

    asyncio.run(main())


def two_loops() -> None:
    offloop.configure(max_pending=2)
    expected = offloop.compute_sha256(DATA)
    wrong = []

    async def main() -> None:
        for _ in range(20):
            results = await asyncio.gather(*(offloop.sha256(DATA) for _ in range(50)))
            if set(results) != {expected}:
                wrong.append(results)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), offloop.stats()
    assert not wrong


def held_by_another_loop() -> None:
    """All slots are held by operations of a loop that waits for a pipe; another loop's operations still end."""
    offloop.configure(max_pending=2)
    reading, writing = os.pipe()
    holding = threading.Event()

    async def holder() -> None:
        operations = [hashing.file_hexdigest(f"/dev/fd/{reading}") for _ in range(2)]
        holding.set()
        await asyncio.gather(*operations)

    thread = threading.Thread(target=asyncio.run, args=(holder(),))
    thread.start()
    holding.wait()

    async def main() -> None:
        results = await asyncio.wait_for(asyncio.gather(*(offloop.sha256(DATA) for _ in range(50))), 20)
        assert len(set(results)) == 1

    asyncio.run(main())
    os.close(writing)
    thread.join()


globals()[sys.argv[1]]()
print("ok")
