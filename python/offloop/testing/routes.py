"""What the origin serves: good answers, slow ones, and the faults a fetcher has to survive.

| path                              | answer                                                                          |
|-----------------------------------|---------------------------------------------------------------------------------|
| ``/``                             | a small HTML page                                                               |
| ``/image.png``                    | a valid PNG of 64 x 64 pixels                                                   |
| ``/files/NAME``                   | that file of the folder the origin was started with, as it was then             |
| ``/bytes/N?seed=S``               | the N bytes of ``bodies.body_bytes(N, S)``, at most 1 GiB                       |
| ``/chunked/N?seed=S&cut=K``       | the same in chunks; with ``cut``, K bytes of it and no last chunk               |
| ``/gzip/N?seed=S``                | the same gzip-encoded                                                           |
| ``/gzip-bomb/N``                  | N zero bytes gzip-encoded, about 1000 times smaller on the wire                 |
| ``/gzip-broken?how=H``            | a broken gzip body; H is data (default), checksum, truncated or plain           |
| ``/redirect/N``                   | N redirects, then the small page                                                |
| ``/redirect-loop``                | a redirect to itself                                                            |
| ``/redirect-to?url=U&status=302`` | a redirect to U                                                                 |
| ``/slow?seconds=T&bytes=N``       | N bytes (default 16) after T seconds without a word                             |
| ``/drip?bytes=N&seconds=T``       | N bytes, spread over T seconds                                                  |
| ``/status/CODE?retry-after=V``    | that status                                                                     |
| ``/reset?after=N``                | the head, N bytes (default 1000) and a TCP reset; ``after=-1``: no head         |
| ``/close``                        | the connection is closed without an answer                                      |
| ``/short?claim=C&send=S``         | a Content-Length of C, S bytes, and the end of the connection                   |
| ``/endless``                      | a body that never ends                                                          |
| ``/hang``                         | no answer, ever                                                                 |
| ``/garbage``                      | bytes that are no HTTP                                                          |
| ``/headers``                      | the request as JSON: method, target, version, headers as pairs                  |
| ``/_stats``, ``/_reset``          | the counters as JSON; start counting anew                                       |
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from offloop.testing.bodies import BLOCK_BYTES, MAX_BODY_BYTES, body_blocks, body_bytes, png_image
from offloop.testing.http11 import Exchange, Reply, Request, Stats

SMALL_PAGE = b"<!doctype html>\n<title>offloop origin</title>\n<p>A small page.\n"

# Up to here an answer is made whole and may be kept for repeated requests; beyond, it is streamed.
_WHOLE_BYTES = 128 * 1024
_DRIP_STEPS = 50

Route = Callable[[Request, Exchange, str], Reply | Awaitable[None]]


class BadRequest(Exception):
    """A parameter of a route is wrong; answered with status 400 and the message."""


class Routes:
    """The handler: finds the route by the first segment of the path."""

    def __init__(self, stats: Stats, files: Mapping[str, bytes] | None = None) -> None:
        self.stats = stats
        self._files = files or {}

    def __call__(self, request: Request, exchange: Exchange) -> Reply | Awaitable[None]:
        """Answer `request`."""
        name, _, rest = request.path[1:].partition("/")
        if request.method not in ("GET", "HEAD"):
            return Reply(405, b"GET or HEAD expected\n", (("Allow", "GET, HEAD"),), "text/plain")
        if name == "_stats":
            return self._counters()
        if name == "_reset":
            self.stats.reset()
            return Reply(204, cacheable=False)
        if name == "files" and rest in self._files:
            return Reply(200, self._files[rest])
        route = ROUTES.get(name)
        if route is None:
            return Reply(404, f"no such route: {request.path}\n".encode(), content_type="text/plain")
        try:
            return route(request, exchange, rest)
        except BadRequest as error:
            return Reply(400, f"{error}\n".encode(), content_type="text/plain")

    def _counters(self) -> Reply:
        stats = self.stats
        paths: Counter[str] = Counter()
        for target, count in stats.targets.items():
            paths[target.partition("?")[0]] += count
        body = {
            "open_connections": stats.open_connections,
            "connections": stats.connections,
            "requests": stats.targets.total(),
            "in_progress": stats.in_progress,
            "max_concurrent": stats.max_concurrent,
            "aborted_by_client": stats.aborted_by_client,
            "paths": paths,
            "targets": stats.targets,
        }
        return Reply(200, json.dumps(body).encode(), content_type="application/json", cacheable=False)


# --- parameters -----------------------------------------------------------------------------------------------------


def _size(words: str, name: str = "N") -> int:
    if not words.isascii() or not words.isdigit() or int(words) > MAX_BODY_BYTES:
        raise BadRequest(f"{name} must be a number of bytes from 0 to {MAX_BODY_BYTES}, got {words!r}")
    return int(words)


def _query_size(request: Request, name: str, default: int) -> int:
    return _size(request.query.get(name, str(default)), name)


def _query_seconds(request: Request, default: float) -> float:
    words = request.query.get("seconds", str(default))
    try:
        seconds = float(words)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise BadRequest(f"seconds must be a number from 0 to 3600, got {words!r}")
    return seconds


def _seed(request: Request) -> str:
    return request.query.get("seed", "0")


# --- good answers ---------------------------------------------------------------------------------------------------


def _page(request: Request, exchange: Exchange, rest: str) -> Reply:
    return Reply(200, SMALL_PAGE, content_type="text/html")


def _image(request: Request, exchange: Exchange, rest: str) -> Reply:
    return Reply(200, png_image(), content_type="image/png")


def _headers(request: Request, exchange: Exchange, rest: str) -> Reply:
    echo = {"method": request.method, "target": request.target, "version": request.version, "headers": request.headers}
    return Reply(200, json.dumps(echo).encode(), content_type="application/json", cacheable=False)


def _bytes(request: Request, exchange: Exchange, rest: str) -> Reply | Awaitable[None]:
    n = _size(rest)
    if n <= _WHOLE_BYTES:
        return Reply(200, body_bytes(n, _seed(request)))
    return _stream(exchange, body_blocks(n, _seed(request)), n)


def _chunked(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    n = _size(rest)
    if "cut" in request.query:
        return _cut_chunks(exchange, body_blocks(min(n, _query_size(request, "cut", 0)), _seed(request)))
    return _stream(exchange, body_blocks(n, _seed(request)), None)


def _gzip(request: Request, exchange: Exchange, rest: str) -> Reply | Awaitable[None]:
    n = _size(rest)
    blocks = body_blocks(n, _seed(request))
    if n <= _WHOLE_BYTES:
        body = b"".join(_compressed(blocks))
        return Reply(200, body, (("Content-Encoding", "gzip"),))
    return _stream(exchange, _compressed(blocks), None, {"Content-Encoding": "gzip"})


def _gzip_bomb(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    n = _size(rest)
    zeros = memoryview(bytes(BLOCK_BYTES))
    blocks = (zeros[: min(BLOCK_BYTES, n - at)] for at in range(0, n, BLOCK_BYTES))
    return _stream(exchange, _compressed(blocks), None, {"Content-Encoding": "gzip"})


def _compressed(blocks: Iterable[memoryview]) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)  # 31: the largest window, with a gzip header
    for block in blocks:
        yield compressor.compress(block)
    yield compressor.flush()


async def _stream(
    exchange: Exchange,
    blocks: Iterable[bytes | memoryview],
    length: int | None,
    headers: dict[str, str] | None = None,
) -> None:
    exchange.start(200, length, headers)
    for number, block in enumerate(blocks):
        if number % 4 == 3:
            await asyncio.sleep(0)  # a client that keeps up must not keep the others waiting
        await exchange.write(block)
    exchange.finish()


# --- redirects and statuses -----------------------------------------------------------------------------------------


def _redirect(request: Request, exchange: Exchange, rest: str) -> Reply:
    n = _size(rest)
    return _page(request, exchange, "") if n == 0 else _location(f"/redirect/{n - 1}" if n > 1 else "/", 302)


def _redirect_loop(request: Request, exchange: Exchange, rest: str) -> Reply:
    return _location("/redirect-loop", 302)


def _redirect_to(request: Request, exchange: Exchange, rest: str) -> Reply:
    url = request.query.get("url", "")
    status = request.query.get("status", "302")
    if not url or not url.isprintable() or not url.isascii():
        raise BadRequest(f"url must be given, in printable ASCII, got {url!r}")
    if status not in ("301", "302", "303", "307", "308"):
        raise BadRequest(f"status must be 301, 302, 303, 307 or 308, got {status!r}")
    return _location(url, int(status))


def _location(url: str, status: int) -> Reply:
    return Reply(status, b"moved\n", (("Location", url),), "text/plain")


def _status(request: Request, exchange: Exchange, rest: str) -> Reply:
    if not rest.isascii() or not rest.isdigit() or not 200 <= int(rest) <= 599:
        raise BadRequest(f"CODE must be from 200 to 599, got {rest!r}")
    retry_after = request.query.get("retry-after")
    if retry_after is not None and not (retry_after.isascii() and retry_after.isprintable()):
        raise BadRequest("retry-after must be printable ASCII")
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return Reply(int(rest), f"status {rest}\n".encode(), headers, "text/plain")


# --- slow answers ---------------------------------------------------------------------------------------------------


async def _wait_then_send(exchange: Exchange, seconds: float, body: bytes) -> None:
    await asyncio.sleep(seconds)
    await exchange.reply(Reply(200, body))


def _slow(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    body = body_bytes(_query_size(request, "bytes", 16), _seed(request))
    return _wait_then_send(exchange, _query_seconds(request, 1.0), body)


async def _send_slowly(exchange: Exchange, body: bytes, seconds: float) -> None:
    exchange.start(200, len(body))
    step = max(1, -(-len(body) // _DRIP_STEPS))
    pieces = range(0, len(body), step)
    for at in pieces:
        await asyncio.sleep(seconds / len(pieces))
        await exchange.write(body[at : at + step])


def _drip(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    body = body_bytes(_query_size(request, "bytes", 1000), _seed(request))
    return _send_slowly(exchange, body, _query_seconds(request, 1.0))


def _hang(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    return asyncio.get_running_loop().create_future()


async def _endless(request: Request, exchange: Exchange, rest: str) -> None:
    exchange.start(200)
    zeros = bytes(BLOCK_BYTES)
    while True:
        await exchange.write(zeros)
        await asyncio.sleep(0)


# --- broken answers -------------------------------------------------------------------------------------------------


def _gzip_broken(request: Request, exchange: Exchange, rest: str) -> Reply:
    body = bytearray(gzip.compress(body_bytes(4096), 1, mtime=0))
    how = request.query.get("how", "data")
    if how == "data":
        body[200:400] = b"\xff" * 200
        del body[10:20]  # the first block's own header
    elif how == "checksum":
        body[-8] ^= 0xFF
    elif how == "truncated":
        del body[len(body) // 2 :]
    elif how == "plain":
        body = bytearray(SMALL_PAGE)
    else:
        raise BadRequest(f"how must be data, checksum, truncated or plain, got {how!r}")
    return Reply(200, bytes(body), (("Content-Encoding", "gzip"),))


async def _reset_midway(exchange: Exchange, after: int) -> None:
    if after >= 0:
        exchange.start(200, 2 * after + 1000)
        for block in body_blocks(after):
            await exchange.write(block)
    await exchange.reset()


def _reset(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    if request.query.get("after") == "-1":
        return _reset_midway(exchange, -1)
    return _reset_midway(exchange, _query_size(request, "after", 1000))


async def _lie_about_length(exchange: Exchange, claim: int, send: int) -> None:
    exchange.start(200, claim)
    for block in body_blocks(send):
        await exchange.write(block)
    await exchange.hang_up()


def _short(request: Request, exchange: Exchange, rest: str) -> Awaitable[None]:
    return _lie_about_length(exchange, _query_size(request, "claim", 2000), _query_size(request, "send", 1000))


async def _cut_chunks(exchange: Exchange, blocks: Iterable[memoryview]) -> None:
    exchange.start(200)
    for block in blocks:
        await exchange.write(block)
    await exchange.hang_up()


async def _close(request: Request, exchange: Exchange, rest: str) -> None:
    await exchange.hang_up()


async def _garbage(request: Request, exchange: Exchange, rest: str) -> None:
    exchange.write_raw(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
    await exchange.hang_up()


ROUTES: dict[str, Route] = {
    "": _page,
    "bytes": _bytes,
    "chunked": _chunked,
    "close": _close,
    "drip": _drip,
    "endless": _endless,
    "garbage": _garbage,
    "gzip": _gzip,
    "gzip-bomb": _gzip_bomb,
    "gzip-broken": _gzip_broken,
    "hang": _hang,
    "headers": _headers,
    "image.png": _image,
    "redirect": _redirect,
    "redirect-loop": _redirect_loop,
    "redirect-to": _redirect_to,
    "reset": _reset,
    "short": _short,
    "slow": _slow,
    "status": _status,
}
