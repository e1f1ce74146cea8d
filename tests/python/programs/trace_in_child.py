"""A forked child leaves its parent's trace, writes nothing of it, and may have one of its own."""

import asyncio
import json
import os
import sys

import offloop


async def hash_one() -> None:
    await asyncio.wait_for(offloop.sha256(bytes(300_000)), 30)


path = sys.argv[1]
parent = os.getpid()
with offloop.trace(path) as trace:
    asyncio.run(hash_one())
    child = os.fork()
    if child == 0:
        asyncio.run(hash_one())
        with offloop.trace() as own:
            asyncio.run(hash_one())
        assert (trace.seen, own.seen) == (1, 1), (trace.seen, own.seen)
    else:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not os.path.exists(path)
if os.getpid() != parent:
    os._exit(0)
with open(path) as file:
    assert json.load(file)["otherData"]["recorded"] == 1
print("ok")
