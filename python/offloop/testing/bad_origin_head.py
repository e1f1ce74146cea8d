"""Faults of `BadOrigin` in the status, the head and the redirects of an answer."""

from __future__ import annotations

from offloop.errors import (
    ConnectError,
    FetchError,
    HTTPStatusError,
    IncompleteBodyError,
    TLSError,
    TooManyRedirectsError,
)
from offloop.testing.bad_origin_fault import CHUNKED, End, Fault, Repeat, answer, chunk, fails, head, passes

_OK = answer(b"ok")
_PAGE = b"<!doctype html>\n<title>offloop origin</title>\n<p>A small page.\n"


def _status(code: int, words: str, retryable: bool = False) -> Fault:
    return fails(f"status-{code}", HTTPStatusError, words, path=f"/status/{code}", retryable=retryable)


STATUS_FAULTS = (
    _status(400, "bad request"),
    _status(401, "not authorised"),
    _status(403, "forbidden"),
    _status(404, "not found"),
    _status(408, "request timeout: the server closed an idle connection", retryable=True),
    _status(410, "gone"),
    _status(418, "a status without meaning here"),
    _status(425, "too early", retryable=True),
    _status(429, "too many requests", retryable=True),
    _status(451, "unavailable for legal reasons"),
    _status(500, "the server's own mistake", retryable=True),
    _status(501, "not implemented"),
    _status(502, "bad gateway", retryable=True),
    _status(503, "overloaded", retryable=True),
    _status(504, "gateway timeout", retryable=True),
    _status(522, "a large proxy could not connect", retryable=True),
    _status(524, "a large proxy timed out", retryable=True),
    _status(599, "a status that nobody has defined"),
    fails(
        "status-404-endless",
        HTTPStatusError,
        "404, and a body that never ends",
        head(CHUNKED, status=b"404 Not Found"),
        Repeat(chunk(bytes(4096))),
    ),
    fails(
        "status-503-cut",
        HTTPStatusError,
        "503, and a body that is cut: the status counts",
        head(b"Content-Length: 1000", status=b"503 Busy") + b"too short",
        End.CLOSE,
        retryable=True,
    ),
    fails(
        "status-404-coding",
        HTTPStatusError,
        "404, and a body that is not the gzip it claims to be: the status counts",
        answer(b"no gzip", b"Content-Encoding: gzip", status=b"404 Not Found"),
    ),
    passes("status-204", b"", "no content", path="/status/204"),
    passes(
        "status-204-body", b"", "204 with a body, which is not one", head(status=b"204 No Content") + b"x", End.CLOSE
    ),
    passes("status-203", b"ok", "200's rarer relatives", answer(b"ok", status=b"203 Non-Authoritative Information")),
    passes("status-early-hints", b"ok", "103 Early Hints before the answer", head(b"X: y", status=b"103 H") + _OK),
    passes("status-no-reason", b"ok", "a status line without a reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
    fails(
        "status-hints-endless",
        FetchError,
        "early hints without end",
        Repeat(head(b"Link: </style.css>; rel=preload", status=b"103 Early Hints") * 100),
    ),
    fails("status-no-number", FetchError, "a status that is no number", b"HTTP/1.1 OK\r\n\r\n", End.CLOSE),
    fails("status-two-digits", FetchError, "a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", End.CLOSE),
    fails("status-version", FetchError, "a version that does not exist", b"HTTP/7.3 200 OK\r\n\r\nok", End.CLOSE),
)

HEAD_FAULTS = (
    fails("head-cut-status", IncompleteBodyError, "closed within the status line", b"HTTP/1.1 20", End.CLOSE),
    fails(
        "head-cut-name", IncompleteBodyError, "closed within a header's name", b"HTTP/1.1 200 OK\r\nConte", End.CLOSE
    ),
    fails(
        "head-cut-value",
        IncompleteBodyError,
        "closed within a header's value",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1",
        End.CLOSE,
    ),
    fails(
        "head-cut-before-empty-line",
        IncompleteBodyError,
        "closed where only the head's empty line is missing",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        End.CLOSE,
    ),
    fails(
        "head-cut-after-hints",
        IncompleteBodyError,
        "closed after early hints",
        head(b"X: y", status=b"103 Early Hints"),
        End.CLOSE,
    ),
    fails("head-reset", IncompleteBodyError, "reset within the head", b"HTTP/1.1 200 OK\r\nX: y\r\n", End.RESET),
    fails("head-endless", FetchError, "header lines without end", b"HTTP/1.1 200 OK\r\n", Repeat(b"X: y\r\n" * 1000)),
    fails(
        "head-line-endless", FetchError, "a header line without end", b"HTTP/1.1 200 OK\r\nX: ", Repeat(b"y" * 10_000)
    ),
    fails("head-large", FetchError, "a head of 200 kB", answer(b"ok", *[b"X: " + b"y" * 995] * 200)),
    passes("head-100-lines", b"ok", "a head of 100 lines", answer(b"ok", *[b"X: " + b"y" * 100] * 100)),
    passes("head-bare-newlines", b"ok", "line ends without CR", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    passes("head-folded", b"ok", "a folded header line", answer(b"ok", b"X: y\r\n  and more")),
    passes("head-latin-1", b"ok", "bytes that are not UTF-8 in a value", answer(b"ok", b"X: \xe9\xff")),
    passes("head-duplicates", b"ok", "the same header five times", answer(b"ok", *[b"X-Y: z"] * 5)),
    fails("head-zeros", FetchError, "zeros instead of an answer", bytes(5000), End.CLOSE),
    fails("head-garbage", FetchError, "bytes that are no HTTP", path="/garbage"),
    fails("head-http09", FetchError, "a body without a head, as in HTTP/0.9", b"<html>old</html>\n", End.CLOSE),
    fails("head-zero-byte", FetchError, "a zero byte in a header", answer(b"ok", b"X: a\0b"), End.CLOSE),
)

REDIRECT_FAULTS = (
    passes("redirect-10", _PAGE, "ten redirects", path="/redirect/10"),
    passes("redirect-nowhere", b"hm", "a redirect that does not say where to", answer(b"hm", status=b"302 Found")),
    passes(
        "redirect-300", b"hm", "multiple choices are not followed", answer(b"hm", b"Location: /", status=b"300 Many")
    ),
    passes("redirect-303", _PAGE, "see other", path="/redirect-to?url=/&status=303"),
    passes("redirect-308", _PAGE, "a permanent redirect", path="/redirect-to?url=/&status=308"),
    fails("redirect-11", TooManyRedirectsError, "one redirect too many", path="/redirect/11"),
    fails("redirect-loop", TooManyRedirectsError, "a redirect to itself", path="/redirect-loop"),
    fails("redirect-ftp", TooManyRedirectsError, "to another scheme", path="/redirect-to?url=ftp://127.0.0.1/x"),
    fails(
        "redirect-file", TooManyRedirectsError, "to a file of the client", path="/redirect-to?url=file:///etc/passwd"
    ),
    fails("redirect-no-host", TooManyRedirectsError, "to a URL without host", path="/redirect-to?url=http://"),
    fails("redirect-bad-port", TooManyRedirectsError, "to port 99999", path="/redirect-to?url=http://127.0.0.1:99999/"),
    fails(
        "redirect-control",
        TooManyRedirectsError,
        "to a URL with a control character",
        answer(b"", b"Location: /a\x01b", status=b"302 Found"),
    ),
    fails(
        "redirect-refused", ConnectError, "to a port where nobody listens", path="/redirect-to?url=http://127.0.0.1:1/"
    ),
    fails("redirect-404", HTTPStatusError, "to what is not there", path="/redirect-to?url=/status/404"),
    fails(
        "redirect-body-endless",
        TooManyRedirectsError,
        "a loop of redirects whose bodies never end",
        head(CHUNKED, b"Location: /fault/redirect-body-endless", status=b"302 Found"),
        Repeat(chunk(bytes(4096))),
    ),
    fails(
        "redirect-plain-as-tls",
        TLSError,
        "to https at a port that speaks plain HTTP",
        path="/fault/redirect-plain-as-tls",
    ),
)
