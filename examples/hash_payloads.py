"""Hash many payloads at once. Each `await` is one native operation; those that wait together share SIMD lanes."""

import asyncio
import hashlib
import time

import offloop


async def main() -> None:
    payloads = [index.to_bytes(4, "big") * 25_000 for index in range(1000)]  # 1,000 of 100 kB

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(offloop.sha256(payload)) for payload in payloads]
    digests = [task.result() for task in tasks]
    seconds = time.perf_counter() - start

    assert digests == [hashlib.sha256(payload).hexdigest() for payload in payloads]
    print(f"{len(payloads)} payloads, {sum(map(len, payloads)) / seconds / 1e9:.1f} GB/s; the first: {digests[0]}")


asyncio.run(main())
