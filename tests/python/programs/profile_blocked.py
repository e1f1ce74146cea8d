"""A loop that is blocked by a call that gives up the GIL, then by one that keeps it; ends with exit code 7."""

import asyncio
import json
import sys
import time

import offloop

TEXT = "[" + "1," * 6_000_000 + "1]"


async def handler() -> int:
    time.sleep(0.25)
    await asyncio.sleep(0.05)
    return len(json.loads(TEXT))


async def main() -> None:
    await offloop.sha256(bytes(300_000))
    assert await handler() == 6_000_001
    await asyncio.sleep(0.05)


asyncio.run(main())
print("handled")
sys.exit(7)
