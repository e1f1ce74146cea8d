"""Faults of `BadOrigin` in connecting, in TLS, and in time."""

from __future__ import annotations

from offloop.errors import ConnectError, FetchError, FetchTimeoutError, IncompleteBodyError, TLSError
from offloop.testing.bad_origin_fault import CHUNKED, End, Fault, Repeat, Step, answer, chunk, fails, head, passes

DELAY_FAULTS = (
    fails("delay-no-answer", FetchTimeoutError, "no answer, ever", path="/hang"),
    fails("delay-in-status", FetchTimeoutError, "silence within the status line", b"HTTP/1.1", End.HANG),
    fails("delay-in-head", FetchTimeoutError, "silence within the head", b"HTTP/1.1 200 OK\r\nX: y\r\n", End.HANG),
    fails("delay-after-head", FetchTimeoutError, "silence after the head", head(b"Content-Length: 9"), End.HANG),
    fails("delay-in-body", FetchTimeoutError, "silence within the body", head(b"Content-Length: 9") + b"ab", End.HANG),
    fails(
        "delay-after-continue", FetchTimeoutError, "100 Continue, then silence", head(status=b"100 Continue"), End.HANG
    ),
    fails(
        "delay-last-chunk", FetchTimeoutError, "silence before the last chunk", head(CHUNKED) + chunk(b"abc"), End.HANG
    ),
    fails(
        "delay-no-close",
        FetchTimeoutError,
        "a body that the end of the connection should end, and does not",
        head() + b"abc",
        End.HANG,
    ),
    fails(
        "delay-drip-head",
        FetchTimeoutError,
        "a header line every few milliseconds",
        b"HTTP/1.1 200 OK\r\n",
        Repeat(b"X: y\r\n", 0.01),
    ),
    fails(
        "delay-drip-line",
        FetchTimeoutError,
        "a byte of a header every few milliseconds",
        b"HTTP/1.1 200 OK\r\nX: ",
        Repeat(b"y", 0.01),
    ),
    fails(
        "delay-drip-body",
        FetchTimeoutError,
        "a byte of the body every few milliseconds",
        head(b"Content-Length: 99999"),
        Repeat(b"x", 0.01),
    ),
    fails(
        "delay-drip-chunks",
        FetchTimeoutError,
        "a chunk every few milliseconds",
        head(CHUNKED),
        Repeat(chunk(b"x"), 0.01),
    ),
    fails(
        "delay-drip-hints",
        FetchTimeoutError,
        "early hints every few milliseconds",
        Repeat(head(status=b"103 Early Hints"), 0.01),
    ),
)


def _handshake(name: str, error: type[FetchError], description: str, *script: Step) -> Fault:
    return fails(f"tls-{name}", error, description, *script, scheme="https", port="raw")


def _secured(name: str, description: str, *script: Step, error: type[FetchError] = IncompleteBodyError) -> Fault:
    return fails(f"tls-{name}", error, description, *script, scheme="https", needs_options=True)


_HALF = head(b"Content-Length: 9") + b"ab"

# A record with a fatal alert: "handshake failure".
_ALERT = bytes.fromhex("15030300020228")

TLS_FAULTS = (
    fails(
        "tls-untrusted", TLSError, "a certificate that nobody vouches for", path="/", scheme="https", port="untrusted"
    ),
    fails(
        "tls-wrong-name",
        TLSError,
        "a trusted certificate for another name",
        path="/",
        scheme="https",
        port="wrong-name",
    ),
    fails("tls-expired", TLSError, "a trusted certificate that has expired", path="/", scheme="https", port="expired"),
    fails(
        "tls-not-expected",
        FetchError,
        "TLS where plain HTTP is expected",
        bytes.fromhex("1503030002020a"),  # a fatal alert, "unexpected message"
        End.CLOSE,
        path="/",
        port="raw",
    ),
    _handshake("plain-http", TLSError, "plain HTTP where TLS is expected", answer(b"", status=b"400 Bad"), End.CLOSE),
    _handshake("garbage", TLSError, "bytes that are no TLS", b"this is no TLS\r\n" * 10, End.CLOSE),
    _handshake("alert", TLSError, "the server refuses the handshake", _ALERT, End.CLOSE),
    _handshake("closed", TLSError, "closed within the handshake", End.CLOSE),
    _handshake("reset", TLSError, "reset within the handshake", End.RESET),
    _handshake("silence", FetchTimeoutError, "no answer to the handshake", End.HANG),
    passes(
        "tls-by-close",
        b"ab",
        "a body without length that TLS's closing message ends",
        head() + b"ab",
        End.CLOSE,
        scheme="https",
        needs_options=True,
    ),
    _secured("body-cut", "a body without length, and no closing message of TLS", head() + b"ab", End.CUT),
    _secured("short", "less than the announced length, closed in order", _HALF, End.CLOSE),
    _secured("short-cut", "less than the announced length, cut", _HALF, End.CUT),
    _secured("head-cut", "TLS, closed within the head", b"HTTP/1.1 200 OK\r\nX", End.CLOSE),
    _secured("body-reset", "TLS, reset within the body", _HALF, End.RESET),
    _secured("body-silence", "TLS, silence within the body", _HALF, End.HANG, error=FetchTimeoutError),
)

CONNECT_FAULTS = (
    fails("connect-refused", ConnectError, "nobody listens", path="/", port="refused"),
    fails("connect-never", FetchTimeoutError, "a full queue: the connection is never made", path="/", port="full"),
)
