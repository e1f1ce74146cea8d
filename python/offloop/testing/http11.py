"""A small HTTP/1.1 server on asyncio.Protocol that can also misbehave on purpose.

Not for production: it believes its clients and knows only what a test origin needs (GET, HEAD, keep-alive, pipelining,
fixed-length and chunked bodies). A repeated small request is answered from a table keyed by its raw bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote

MAX_HEAD_BYTES = 64 * 1024
MAX_REQUEST_BODY_BYTES = 1 << 20
# Ready-made answers: enough for the hot set of a benchmark, bounded so that a million different URLs cost no memory.
_MAX_READY_ANSWERS = 8192
_MAX_READY_BYTES = 64 << 20


@dataclass(slots=True)
class Request:
    """One request, parsed. `path` is percent-decoded, `target` is as it came; header names are in lower case."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Return the value of the first header of that (lower-case) name, or ""."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(slots=True)
class Reply:
    """A whole answer. `cacheable` says that the same request will always get the same bytes."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/octet-stream"
    cacheable: bool = True

    def encode(self, *, head_only: bool, close: bool) -> bytes:
        """Return the bytes to send."""
        bodyless = self.status in (204, 304)
        lines = [status_line(self.status)]
        if not bodyless:
            lines.append(f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        lines.append("Connection: close\r\n\r\n" if close else "\r\n")
        head = "".join(lines).encode("latin-1")
        return head if head_only or bodyless else head + self.body


def status_line(status: int) -> str:
    """Return "HTTP/1.1 404 Not Found" and its line end; an unknown status has the reason "Status"."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    return f"HTTP/1.1 {status} {phrase}\r\n"


class Stats:
    """What the origin saw; all on the loop thread."""

    def __init__(self) -> None:
        self.open_connections = 0
        self.in_progress = 0
        self.reset()

    def reset(self) -> None:
        """Start counting anew; what is open or in progress stays counted as such."""
        self.connections = 0
        self.aborted_by_client = 0
        self.max_concurrent = self.in_progress
        self.targets: Counter[str] = Counter()

    def begin(self, target: str) -> None:
        """Count a request that starts now."""
        self.targets[target] += 1
        self.in_progress += 1
        self.max_concurrent = max(self.max_concurrent, self.in_progress)

    def end(self) -> None:
        """A request that `begin` counted is over, well or not."""
        self.in_progress -= 1


# A handler gives a whole Reply at once, or an awaitable that talks through the Exchange it was given.
Handler = Callable[[Request, "Exchange"], Reply | Awaitable[None]]


class Server:
    """What all connections share: the handler, the counters and the table of ready answers."""

    def __init__(self, handler: Handler, stats: Stats) -> None:
        self.handler = handler
        self.stats = stats
        self.connections: set[Connection] = set()
        self._ready_bytes = 0
        self.ready: dict[bytes, tuple[str, bytes]] = {}

    def remember(self, raw_request: bytes, target: str, answer: bytes) -> None:
        """Keep `answer` for the next request with the very same bytes."""
        if len(self.ready) >= _MAX_READY_ANSWERS or self._ready_bytes > _MAX_READY_BYTES:
            self.ready.clear()
            self._ready_bytes = 0
        self.ready[raw_request] = (target, answer)
        self._ready_bytes += len(raw_request) + len(answer)


class Connection(asyncio.Protocol):
    """One client connection: cuts requests out of the stream and answers them one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stats = server.stats
        self._ready = server.ready
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._counted = True
        self.closed_by_us = False
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with nothing received."""
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._stats.connections += 1
        self._stats.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what still answers, and note whether the client left early."""
        self._server.connections.discard(self)
        if self._counted:
            self._stats.open_connections -= 1
        if self._writable is not None and not self._writable.done():
            self._writable.cancel()
        if self._task is not None:
            if not self.closed_by_us:
                self._stats.aborted_by_client += 1
            self.closed_by_us = True  # so that the end of the task is not counted a second time
            self._task.cancel()

    def pause_writing(self) -> None:
        """Let `writable` wait."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let `writable` go on."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Answer from the table of ready answers, or take the request apart."""
        if self._task is None and not self._buffer:
            hit = self._ready.get(data)
            if hit is not None:
                self._stats.begin(hit[0])
                self._stats.end()
                self.transport.write(hit[1])
                return
        self._buffer += data
        if self._task is None:
            self._serve()

    # --- requests ---

    def _serve(self) -> None:
        while self._task is None and self._buffer and not self.transport.is_closing():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    self._refuse(431, f"a head of at most {MAX_HEAD_BYTES} bytes expected")
                return
            raw = bytes(self._buffer[: end + 4])
            request = parse_head(raw)
            if request is None:
                self._refuse(400, "expected METHOD TARGET HTTP/1.x")
                return
            body_bytes = int(request.header("content-length") or 0)
            if request.header("transfer-encoding") or body_bytes > MAX_REQUEST_BODY_BYTES:
                self._refuse(413, f"a Content-Length of at most {MAX_REQUEST_BODY_BYTES} expected")
                return
            if len(self._buffer) < len(raw) + body_bytes:
                return
            alone = len(self._buffer) == len(raw)
            del self._buffer[: len(raw) + body_bytes]
            self._answer(request, raw if alone and not body_bytes else None)

    def _answer(self, request: Request, raw: bytes | None) -> None:
        """Answer `request`; `raw` is given when it came alone, so that the answer may be kept for its likes."""
        close = wants_close(request)
        if request.path.startswith("/_"):
            self._leave_the_counters()
        else:
            self._stats.begin(request.target)
        exchange = Exchange(self, request, close)
        reply = self._server.handler(request, exchange)
        if isinstance(reply, Reply):
            if self._counted:
                self._stats.end()
            answer = reply.encode(head_only=request.method == "HEAD", close=close)
            if raw is not None and reply.cacheable and not close and self._counted:
                self._server.remember(raw, request.target, answer)
            self.transport.write(answer)
            if close:
                self.close()
            return
        self._task = asyncio.ensure_future(self._run(reply, close))

    def serve(self, request: Request, answer: Callable[[Exchange], Awaitable[None]]) -> None:
        """Let `answer` talk, for connections that are not HTTP; what else the client says is ignored."""
        if self._task is None and not self.transport.is_closing():
            self._stats.begin(request.target)
            self._task = asyncio.ensure_future(self._run(answer(Exchange(self, request, close=False)), close=True))

    async def _run(self, reply: Awaitable[None], close: bool) -> None:
        try:
            await reply
            await self.flushed()
        except Exception:
            traceback.print_exc()  # a bug of the origin: the client sees its connection close
            close = True
        finally:
            self._stats.end()
            self._task = None
        if close:
            self.close()
        else:
            self._serve()

    def _leave_the_counters(self) -> None:
        """The connection that reads the counters is not one of those that they count."""
        if self._counted:
            self._counted = False
            self._stats.open_connections -= 1
            self._stats.connections -= 1

    def _refuse(self, status: int, words: str) -> None:
        reply = Reply(status, words.encode(), content_type="text/plain")
        self.transport.write(reply.encode(head_only=False, close=True))
        self.close()

    # --- the handler's side ---

    async def writable(self) -> None:
        """Wait until the transport takes more."""
        if self._writable is not None:
            await self._writable

    async def flushed(self) -> None:
        """Wait until every byte written is with the kernel."""
        if self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)
            await self.writable()
            self.transport.set_write_buffer_limits()

    def close(self) -> None:
        """Close after what was written has been sent."""
        self.closed_by_us = True
        self.transport.close()

    def cut(self) -> None:
        """Close without TLS's closing message, and drop what was not sent."""
        self.closed_by_us = True
        self.transport.abort()

    def reset(self) -> None:
        """Close with a TCP reset, and drop what was not sent."""
        self.closed_by_us = True
        sock = cast(socket.socket, self.transport.get_extra_info("socket"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Exchange:
    """One request and its answer, for handlers that take their time or break the rules."""

    def __init__(self, connection: Connection, request: Request, close: bool) -> None:
        self._connection = connection
        self._head_only = request.method == "HEAD"
        self._close = close
        self._chunked = False

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer."""
        self._connection.transport.write(reply.encode(head_only=self._head_only, close=self._close))

    def start(
        self,
        status: int = 200,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the head; without `length` the body is chunked. The length is believed: a lie is sent as told."""
        self._chunked = length is None
        fields = {"Content-Type": "application/octet-stream"}
        fields.update({"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)})
        if self._close:
            fields["Connection"] = "close"
        fields.update(headers or {})
        head = status_line(status) + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        self._connection.transport.write(head.encode("latin-1"))

    async def write(self, data: bytes | memoryview) -> None:
        """Send a piece of the body, and wait while the client does not keep up."""
        if self._head_only or not data:
            return
        transport = self._connection.transport
        if self._chunked:
            transport.write(b"%x\r\n" % len(data))
            transport.write(data)
            transport.write(b"\r\n")
        else:
            transport.write(data)
        await self._connection.writable()

    def finish(self) -> None:
        """End the body (a chunked one needs its last chunk)."""
        if self._chunked and not self._head_only:
            self._connection.transport.write(b"0\r\n\r\n")

    def write_raw(self, data: bytes) -> None:
        """Send bytes that may be no HTTP at all."""
        self._connection.transport.write(data)

    async def writable(self) -> None:
        """Wait while the client does not keep up."""
        await self._connection.writable()

    async def cut(self) -> None:
        """Close without TLS's closing message, after what was written is with the kernel."""
        await self._connection.flushed()
        self._connection.cut()

    async def hang_up(self) -> None:
        """Close the connection in an orderly way, wherever the answer stands."""
        await self._connection.flushed()
        self._connection.close()

    async def reset(self) -> None:
        """Reset the connection after what was written is with the kernel."""
        await self._connection.flushed()
        self._connection.reset()


def parse_head(raw: bytes) -> Request | None:
    """Return the request whose head, with its empty line, is `raw`; None when it is not one."""
    lines = raw[:-4].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers.append((name.lower(), value.strip()))
    request = Request(words[0], words[1], words[2], headers)
    length = request.header("content-length")
    if length and not (length.isascii() and length.isdigit()):
        return None
    path, _, query = words[1].partition("?")
    request.path = unquote(path)
    request.query = dict(parse_qsl(query, keep_blank_values=True))
    return request


def wants_close(request: Request) -> bool:
    """Say whether the connection ends with this request."""
    connection = request.header("connection").lower()
    return "close" in connection or (request.version == "HTTP/1.0" and "keep-alive" not in connection)
