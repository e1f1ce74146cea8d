"""Hashes, and blocks its loop now and then, until standard input is closed."""

import asyncio
import sys
import threading
import time

import offloop


async def main() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    print("up", flush=True)
    while not over.is_set():
        await offloop.sha256(bytes(300_000))
        time.sleep(0.04)


asyncio.run(main())
print("down")
