"""What the tests of fetching share: questions to the origin, and a server that says what no real one would."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable

from offloop.testing import Origin, OriginStats

# A body that takes many chunks (256 KiB) and many reads of libcurl's.
LARGE = 3_000_017

# How long a send must have been stuck before the server says that it is: the client takes no more.
STUCK_S = 0.25


async def sees(origin: Origin, wanted: Callable[[OriginStats], bool]) -> OriginStats:
    """Waits for the origin without blocking the loop."""
    return await asyncio.to_thread(origin.wait_for, wanted)


async def in_progress(origin: Origin, count: int) -> OriginStats:
    """Waits until the origin is answering so many requests."""
    return await sees(origin, lambda stats: stats.in_progress == count)


async def abandoned(origin: Origin, count: int) -> OriginStats:
    """Waits until the origin has seen so many requests abandoned, and none that goes on."""
    return await sees(origin, lambda stats: stats.aborted_by_client == count and stats.in_progress == 0)


def quiet(origin: Origin) -> Origin:
    """The origin when whatever an earlier test left behind is over, with counters at zero."""
    # By one plain connection: before each of hundreds of tests, urllib (Origin.stats) would cost more than most.
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", origin.port, timeout=30)) as connection:
        deadline = time.monotonic() + 30
        while json.loads(ask(connection, "/_stats"))["in_progress"]:
            assert time.monotonic() < deadline, "the origin is still busy with an earlier test"
        ask(connection, "/_reset")
    return origin


def ask(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


class ScriptedServer:
    """Answers the n-th connection's first request with the n-th answer (the last one: all further connections), then
    closes the connection, or holds it open until the block ends."""

    def __init__(self, *answers: bytes, hold: bool = False) -> None:
        self._answers = answers
        self._hold = hold
        self._ending = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self.requests: list[bytes] = []
        self.sent_bytes = 0
        self.stuck = threading.Event()  # the client reads no more

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{path}"

    def __enter__(self) -> ScriptedServer:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                answer = self._answers[min(len(self._open), len(self._answers) - 1)]
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection, answer))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(65536)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            connection.setblocking(False)
            rest = memoryview(answer)
            while rest and not self._ending.is_set():
                if not select.select([], [connection], [], STUCK_S)[1]:
                    self.stuck.set()
                    continue
                sent = connection.send(rest)
                self.sent_bytes += sent
                rest = rest[sent:]
            if not self._hold:
                connection.shutdown(socket.SHUT_WR)
