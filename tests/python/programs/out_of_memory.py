"""Each C++ allocation of a scenario fails in its turn, in a child of its own: out_of_memory.py SCENARIO once|forever.

The library of tests/support/failing_new.cpp is preloaded. What is asked for then ends right or in MemoryError;
afterwards everything works, and nothing is left alive.
"""

import asyncio
import contextlib
import ctypes
import hashlib
import os
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import offloop
from offloop import _core, hashing, image
from offloop.fetch import Fetcher
from offloop.testing import spin

ALLOCATOR = ctypes.CDLL(None)
DATA = bytearray(range(256)) * 400
DIGEST = offloop.compute_sha256(DATA)
MOST_ALLOCATIONS = 2000


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = bytes(1 + 3 * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PNG = png(40, 30)
PICTURE = tempfile.NamedTemporaryFile(suffix=".png")  # noqa: SIM115  as long as the process
PICTURE.write(PNG)
PICTURE.flush()
# Libraries of pictures allocate when they are loaded, and nanobind ends the process where the table of its objects
# cannot grow: both happen now.
KEPT = [image.Pipeline() for _ in range(64)], [Fetcher() for _ in range(8)]
NONE_FAILED = 7
NOBODY = "http://127.0.0.1:1/"  # refuses
ORIGIN = ""


async def message() -> None:
    assert await offloop.sha256(DATA) == DIGEST


async def messages() -> None:
    operations = [offloop.sha256(DATA) for _ in range(5)]
    assert await asyncio.gather(*operations) == [DIGEST] * 5


async def other() -> None:
    assert len(await hashing.digest(DATA, "sha512")) == 64


async def file() -> None:
    assert len(await hashing.file_digest(sys.executable)) == 32


async def missing_file() -> None:
    try:
        await hashing.file_digest("/nowhere/at/all/with/a/name/that/is/not/short")
    except FileNotFoundError:
        pass


async def many() -> None:
    assert await offloop.sha256_many([DATA] * 50, max_concurrent=1) == [DIGEST] * 50


async def blocking() -> None:
    assert offloop.batch_hash([DATA] * 50, 2) == [DIGEST] * 50


async def spinning() -> None:
    await spin(0)


async def thrown() -> None:
    try:
        await _core._throw("runtime_error")
    except offloop.OffloopError:
        pass


async def refused() -> None:
    offloop.configure(max_pending=1, when_full="raise")
    first = spin(0.001)
    try:
        await offloop.sha256(DATA)
    except offloop.PoolSaturatedError:
        pass
    await first


async def unknown() -> None:
    try:
        await hashing.digest(DATA, "an algorithm whose name is long enough to be allocated")
    except ValueError:
        pass


async def cancelled() -> None:
    operations = [offloop.sha256(DATA) for _ in range(3)] + [hashing.digest(DATA, "md5") for _ in range(3)]
    for operation in operations:
        operation.cancel()
    await asyncio.gather(*operations, return_exceptions=True)


async def picture_info() -> None:
    found = await image.info(bytearray(PNG))
    assert (found.width, found.height) == (40, 30)


async def picture_info_of_a_file() -> None:
    assert (await image.info(PICTURE.name)).height == 30


async def picture() -> None:
    made = await image.resize(bytearray(PNG), 20, 15, format="png")
    assert made.startswith(b"\x89PNG")


async def picture_of_a_file() -> None:
    made = await image.Pipeline().resize(20, 15).to("jpeg").run(PICTURE.name, hash=True)
    assert (made.width, made.height) == (20, 15)


async def sheet() -> None:
    made = await image.sheet([PICTURE.name] * 3, columns=2)
    assert made.width > 0


async def fetch_refused() -> None:
    try:
        await offloop.fetch_url(NOBODY)
    except offloop.ConnectError:
        pass


async def fetch_and_hash() -> None:
    answers = await offloop.fetch_and_hash_urls([NOBODY, f"{ORIGIN}/body"], return_exceptions=True)
    assert isinstance(answers[NOBODY], (offloop.ConnectError, MemoryError)), answers
    assert answers[f"{ORIGIN}/body"] == DIGEST or isinstance(answers[f"{ORIGIN}/body"], MemoryError), answers


async def fetch_get() -> None:
    async with Fetcher() as fetcher:
        response = await fetcher.get(f"{ORIGIN}/body", headers={"X-Something": "a value that is not short at all"})
        assert response.read() == DATA


async def fetch_hash() -> None:
    async with Fetcher() as fetcher:
        assert (await fetcher.hash(f"{ORIGIN}/body", "sha512")).hexdigest == hashlib.sha512(DATA).hexdigest()


async def fetch_to_a_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Fetcher() as fetcher:
            await fetcher.stream(f"{ORIGIN}/body", f"{folder}/a file with a name that is not short")


async def fetch_past_a_function() -> None:
    sizes: list[int] = []
    async with Fetcher() as fetcher:
        await fetcher.stream(f"{ORIGIN}/body", lambda chunk: sizes.append(len(chunk)))
    assert sum(sizes) == len(DATA)


async def fetch_a_picture() -> None:
    made = await image.Pipeline().resize(20, 15).to("png").run(f"{ORIGIN}/picture")
    assert (made.width, made.height) == (20, 15)


def serve() -> str:
    """An origin in a thread of the parent, which forks and waits."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = PNG if self.path == "/picture" else DATA
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def free() -> bool:
    counts = _core.live_counts()
    alive = any(counts[kind] for kind in ("operations", "buffers", "streams", "transfers", "chunks"))
    alive = alive or image.stats()["pixels_in_flight"] > 0
    return not (alive or offloop.stats()["in_flight"])


def attempt(scenario, n: int, forever: bool) -> int:
    """In the child, whose pool is a new one. Returns how many allocations have failed."""
    ALLOCATOR.failing_new_arm(n, int(forever))
    try:
        asyncio.run(scenario())
    except MemoryError:
        pass
    finally:
        failed = ALLOCATOR.failing_new_disarm()
    offloop.configure(max_pending=100, when_full="wait")
    deadline = time.monotonic() + 20
    while not free():
        assert time.monotonic() < deadline, (_core.live_counts(), offloop.stats())
        time.sleep(0.001)
        asyncio.run(message())  # what ends after its loop was closed is taken in with the next use
    asyncio.run(messages())
    asyncio.run(file())
    return failed


def main(name: str, forever: bool) -> None:
    global ORIGIN
    if "fetch" in name:
        ORIGIN = serve()
    scenario = globals()[name]
    for n in range(MOST_ALLOCATIONS):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(40)
                code = 0 if attempt(scenario, n, forever) else NONE_FAILED
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == NONE_FAILED:
            assert n > 0, "no allocation was seen: is the library preloaded?"
            return
        assert code == 0, f"allocation {n} of {name}, {'and all after it' if forever else 'once'}: ended with {code}"
    raise AssertionError(f"{name} allocates without end")


main(sys.argv[1], sys.argv[2] == "forever")
print("ok")
