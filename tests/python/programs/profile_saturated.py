"""One worker, and a hundred works that wait for it."""

import asyncio

import offloop
from offloop.testing import spin


async def main() -> None:
    offloop.configure(threads=1)
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(spin(0.006))


asyncio.run(main())
