"""A WSGI application that has used offloop before its server forks: for `gunicorn --preload`."""

import asyncio
import os

import offloop

DATA = bytes(range(256)) * 400
DIGEST = asyncio.run(offloop.sha256(DATA))  # starts the pool in the server's first process
assert offloop.stats()["threads"] > 0


def application(environ, start_response):
    async def work() -> set[str]:
        return set(await asyncio.gather(*(offloop.sha256(DATA) for _ in range(50))))

    right = asyncio.run(work()) == {DIGEST} and offloop.batch_hash([DATA] * 5, 2) == [DIGEST] * 5
    body = f"{os.getpid()} {'ok' if right else 'wrong'}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
