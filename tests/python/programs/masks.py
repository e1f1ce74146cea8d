"""Our threads block every signal that can be blocked, so that the main thread gets them."""

import asyncio
import os
import signal
import sys

import offloop
from offloop import hashing


async def main() -> None:
    await offloop.sha256(b"x" * 1_000_000)
    await hashing.file_digest(sys.executable)


asyncio.run(main())
checked = 0
for thread in os.listdir("/proc/self/task"):
    if int(thread) == os.getpid():
        continue
    with open(f"/proc/self/task/{thread}/status") as status:
        blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1, signal.SIGPROF):
        assert blocked >> (number - 1) & 1, (thread, number)
    checked += 1
assert checked >= 2
print("ok")
