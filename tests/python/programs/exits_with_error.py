"""The program's own exit handler raises, while eight operations run that cannot be interrupted."""

import asyncio
import atexit

import offloop
from offloop.testing import spin


def handler() -> None:
    raise ZeroDivisionError("the handler's own")


async def main() -> list[offloop.Operation[None]]:
    offloop.configure(threads=8)
    operations = [spin(10, cooperative=False) for _ in range(8)]
    while offloop.stats()["running"] < 8:
        await asyncio.sleep(0)
    return operations


atexit.register(handler)
kept = asyncio.run(main())
print("ok")
