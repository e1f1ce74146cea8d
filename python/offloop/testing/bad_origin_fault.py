"""What a fault of `BadOrigin` is: a script for the server, and what a client must make of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

from offloop.errors import FetchError

# Clients that test with the table should allow so much of a body, or less: what exceeds it is never larger by chance.
MAX_BODY_BYTES = 1 << 20


class End(enum.Enum):
    """How a script ends the connection. Without one it stays open for the next request."""

    CLOSE = "FIN after what was sent (with TLS: after its closing message)"
    CUT = "FIN without TLS's closing message"
    RESET = "RST"
    HANG = "nothing more, until the client leaves"


@dataclass(frozen=True, slots=True)
class Repeat:
    """`piece` again and again, with a pause of `seconds` before each, until the client leaves."""

    piece: bytes
    seconds: float = 0.0


Step = bytes | Repeat | End

# Which of the origin's ports: plain HTTP; TLS, each with a certificate of its own; one that runs the script of its
# fault whatever the client says; one where nobody listens; one whose queue of new connections is full.
Port = Literal["http", "https", "untrusted", "wrong-name", "expired", "raw", "refused", "full"]

# The ports with TLS, and the folders of their certificates. All but the untrusted one are in `BadOrigin.ca_file`.
CERTIFICATES: dict[Port, str] = {
    "https": "right",
    "untrusted": "untrusted",
    "wrong-name": "wrong-name",
    "expired": "expired",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of `BadOrigin`, and what fetching `BadOrigin.url(fault)` must give.

    Attributes:
        name: short and unique ("gzip-cut").
        group: what is wrong: status, head, framing, coding, size, delay, redirect, close, tls or connect.
        description: what the server does, in words.
        path: the path and query of its URL.
        error: the class of error that it must give; None where the answer is odd but right.
        retryable: what `.retryable` of that error must be.
        body: the decoded body it must give; None where it gives an error.
        scheme: of its URL: http or https.
        port: which of the origin's ports answers.
        script: what the server says and does.
        needs_options: the fault shows only with a `Fetcher` that was given `BadOrigin.options` (``ca_file``,
            ``max_body``); with another one it gives another error.
    """

    name: str
    group: str
    description: str
    path: str
    error: type[FetchError] | None
    retryable: bool = False
    body: bytes | None = None
    scheme: Literal["http", "https"] = "http"
    port: Port = "http"
    script: tuple[Step, ...] = ()
    needs_options: bool = False

    def __str__(self) -> str:
        """Return the name: for the ids of parametrized tests."""
        return self.name


def fails(
    name: str,
    error: type[FetchError],
    description: str,
    *script: Step,
    retryable: bool | None = None,
    path: str | None = None,
    scheme: Literal["http", "https"] = "http",
    port: Port | None = None,
    needs_options: bool = False,
) -> Fault:
    """Return a fault that must give `error`; retryable as that class is by default."""
    return Fault(
        name=name,
        group=name.partition("-")[0],
        description=description,
        path=f"/fault/{name}" if path is None else path,
        error=error,
        retryable=error.default_retryable if retryable is None else retryable,
        scheme=scheme,
        port=scheme if port is None else port,
        script=script,
        needs_options=needs_options,
    )


def passes(
    name: str,
    body: bytes,
    description: str,
    *script: Step,
    path: str | None = None,
    scheme: Literal["http", "https"] = "http",
    needs_options: bool = False,
) -> Fault:
    """Return an oddity that every client must bear: it gives `body`."""
    return Fault(
        name=name,
        group=name.partition("-")[0],
        description=description,
        path=f"/fault/{name}" if path is None else path,
        error=None,
        body=body,
        scheme=scheme,
        port=scheme,
        script=script,
        needs_options=needs_options,
    )


def head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a head with these header lines and its empty line."""
    return b"".join((b"HTTP/1.1 ", status, b"\r\n", *(line + b"\r\n" for line in lines), b"\r\n"))


def answer(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole answer whose Content-Length is right."""
    return head(*lines, b"Content-Length: %d" % len(body), status=status) + body


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; the last one for no data."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
