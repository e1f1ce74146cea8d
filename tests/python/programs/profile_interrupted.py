"""Hashes until SIGINT comes, and ends with exit code 40 and the number of those that came."""

import asyncio
import signal
import sys

import offloop


async def main() -> int:
    came = 0
    first = asyncio.Event()

    def note() -> None:
        nonlocal came
        came += 1
        first.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, note)
    await offloop.sha256(bytes(300_000))
    print("up", flush=True)
    await first.wait()
    await asyncio.sleep(0.3)  # a second one would be counted
    return came


sys.exit(40 + asyncio.run(main()))
