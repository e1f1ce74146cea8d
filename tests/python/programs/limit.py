"""Whether max_concurrent=1 really keeps the other workers of a larger pool out, judged by the CPU time they take."""

import asyncio
import time

import offloop

PAYLOADS = [bytes(4_000_000)] * 100


def cpu_share(work: object) -> float:
    wall, cpu = time.perf_counter(), time.process_time()
    assert callable(work)
    work()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


async def many(limit: int) -> None:
    await offloop.sha256_many(PAYLOADS, max_concurrent=limit)


assert offloop.configure()["threads"] == 4
offloop.batch_hash(PAYLOADS[:8], 4)  # starts the threads
for work in (lambda: offloop.batch_hash(PAYLOADS, 1), lambda: asyncio.run(many(1))):
    share = cpu_share(work)
    assert share < 1.2, share  # an idle worker that is woken in vain once a quantum makes it 1.37
print("ok")
