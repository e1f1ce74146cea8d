"""Faults of `BadOrigin` in how a body is framed and coded, how large it is and how it ends."""

from __future__ import annotations

import gzip
import zlib

from offloop.errors import BodyTooLargeError, ConnectError, ContentDecodingError, FetchError, IncompleteBodyError
from offloop.testing.bad_origin_fault import (
    CHUNKED,
    MAX_BODY_BYTES,
    End,
    Fault,
    Repeat,
    answer,
    chunk,
    fails,
    head,
    passes,
)

_TEXT = b"".join(b"%d the body, the body\n" % (i % 50) for i in range(1000))[:20_000]

FRAMING_FAULTS = (
    fails("framing-short", IncompleteBodyError, "half of the announced length", path="/short?claim=2000&send=1000"),
    fails("framing-short-by-one", IncompleteBodyError, "all but the last byte", path="/short?claim=100000&send=99999"),
    fails("framing-nothing", IncompleteBodyError, "nothing of the announced length", path="/short?claim=10&send=0"),
    passes(
        "framing-longer",
        b"01234",
        "more than the announced length",
        head(b"Content-Length: 5") + b"0123456789",
        End.CLOSE,
    ),
    passes("framing-by-close", _TEXT, "no length: the body ends with the connection", head() + _TEXT, End.CLOSE),
    passes("framing-twice-same", b"ok", "the same length twice", head(*[b"Content-Length: 2"] * 2) + b"ok"),
    fails(
        "framing-twice",
        FetchError,
        "two different lengths",
        head(b"Content-Length: 2", b"Content-Length: 3") + b"ok!",
        End.CLOSE,
    ),
    fails("framing-no-number", FetchError, "a length that is no number", head(b"Content-Length: x") + b"ok", End.CLOSE),
    fails("framing-negative", FetchError, "a negative length", head(b"Content-Length: -5") + b"ok", End.CLOSE),
    fails(
        "framing-overflow",
        FetchError,
        "a length beyond 64 bits",
        head(b"Content-Length: 99999999999999999999") + b"ok",
        End.CLOSE,
    ),
    passes(
        "framing-chunked-and-length",
        b"abc",
        "chunked and a length: chunked counts",
        head(b"Content-Length: 99", CHUNKED) + chunk(b"abc") + chunk(b""),
        End.CLOSE,
    ),
    passes(
        "framing-extensions",
        b"abc",
        "chunk extensions and trailers",
        head(CHUNKED) + b'3;name="value"\r\nabc\r\n0\r\nTrailer: x\r\n\r\n',
    ),
    fails("framing-cut-chunk", IncompleteBodyError, "closed within a chunk", path="/chunked/5000?cut=4000"),
    fails("framing-no-chunk", IncompleteBodyError, "closed before the first chunk", path="/chunked/5000?cut=0"),
    fails(
        "framing-no-last-chunk",
        IncompleteBodyError,
        "closed before the last chunk",
        head(CHUNKED) + chunk(_TEXT),
        End.CLOSE,
    ),
    fails(
        "framing-cut-size",
        IncompleteBodyError,
        "closed within a chunk's size",
        head(CHUNKED) + b"3\r\nabc\r\n1",
        End.CLOSE,
    ),
    fails(
        "framing-cut-end",
        IncompleteBodyError,
        "closed within the last chunk",
        head(CHUNKED) + b"3\r\nabc\r\n0\r\n",
        End.CLOSE,
    ),
    fails(
        "framing-size",
        IncompleteBodyError,
        "a chunk size that is no number",
        head(CHUNKED) + b"zz\r\nabc\r\n",
        End.CLOSE,
    ),
    fails(
        "framing-size-negative",
        IncompleteBodyError,
        "a negative chunk size",
        head(CHUNKED) + b"-3\r\nabc\r\n",
        End.CLOSE,
    ),
    fails(
        "framing-size-overflow",
        IncompleteBodyError,
        "a chunk size beyond 64 bits",
        head(CHUNKED) + b"fffffffffffffffff\r\nabc\r\n",
        End.CLOSE,
    ),
    fails(
        "framing-no-newline",
        IncompleteBodyError,
        "a chunk longer than its size",
        head(CHUNKED) + b"3\r\nabcdef\r\n0\r\n\r\n",
        End.CLOSE,
    ),
    fails(
        "framing-transfer-gzip",
        FetchError,
        "a transfer coding that nobody asked for",
        head(b"Transfer-Encoding: gzip, chunked") + chunk(gzip.compress(_TEXT, mtime=0)) + chunk(b""),
    ),
    fails(
        "framing-transfer-unknown",
        FetchError,
        "a transfer coding that does not exist",
        head(b"Transfer-Encoding: magic") + b"abc",
        End.CLOSE,
    ),
)

_GZIP = gzip.compress(_TEXT, 9, mtime=0)
_ZLIB = zlib.compress(_TEXT, 9)
_RAW = _ZLIB[2:-4]
_BROTLI = bytes.fromhex(
    "1b1f4e008c54b53f37189b97344a8105997000304c2db943a2f0562a50558c415e260a8a66580e97c7df84312ddb713d5e1f3f0ba6653b"
    "aec7ebe367c3b46cc7f5787dfc1c9896edb81eaf8fff9841001501"
)
_ZSTD = bytes.fromhex(
    "28b52ffd64204d0d0300d2430b10c01d033e9cc57f374dee9462b6388705ffffffbf6ddbb6ddb66ddb92244992e89842ee1288a75a"
    "0a8bb9300233a820bc7d03809394ae0611ac10fc307effffcfdb4911a73322745f79d135175b6b91352c575b773b8a3438a2401688"
    "2995d358ec"
)


def _coded(coding: bytes, body: bytes, *, chunked: bool = False) -> bytes:
    line = b"Content-Encoding: " + coding
    return head(line, CHUNKED) + chunk(body) + chunk(b"") if chunked else answer(body, line)


def _coding_faults(coding: str, packed: bytes) -> tuple[Fault, ...]:
    name = coding.encode()
    broken = bytearray(packed)
    broken[len(packed) // 3] ^= 0xFF
    broken[len(packed) // 2] ^= 0xFF
    return (
        passes(f"coding-{coding}", _TEXT, f"{coding}, as it should be", _coded(name, packed)),
        passes(f"coding-{coding}-empty", b"", f"{coding}, and a body of no bytes", _coded(name, b"")),
        fails(
            f"coding-{coding}-cut",
            ContentDecodingError,
            f"{coding}, cut before it was framed",
            _coded(name, packed[:-5]),
        ),
        fails(
            f"coding-{coding}-cut-chunked",
            ContentDecodingError,
            f"{coding}, cut before it was framed in chunks",
            _coded(name, packed[: len(packed) // 2], chunked=True),
        ),
        fails(
            f"coding-{coding}-more",
            ContentDecodingError,
            f"{coding}, and garbage behind it",
            _coded(name, packed + b"more"),
        ),
        fails(
            f"coding-{coding}-broken",
            ContentDecodingError,
            f"{coding}, with flipped bytes",
            _coded(name, bytes(broken)),
        ),
        fails(
            f"coding-{coding}-plain",
            ContentDecodingError,
            f"plain text that calls itself {coding}",
            _coded(name, _TEXT),
        ),
    )


CODING_FAULTS = (
    *_coding_faults("gzip", _GZIP),
    *_coding_faults("deflate", _ZLIB),
    *_coding_faults("br", _BROTLI),
    *_coding_faults("zstd", _ZSTD),
    passes("coding-deflate-raw", _TEXT, "deflate without zlib's header, as many send it", _coded(b"deflate", _RAW)),
    passes("coding-x-gzip", _TEXT, "gzip by its older name", _coded(b"x-gzip", _GZIP)),
    passes("coding-members", _TEXT * 2, "gzip of two members", _coded(b"gzip", _GZIP * 2)),
    passes(
        "coding-twice", _TEXT, "two codings, one in the other", _coded(b"deflate, gzip", gzip.compress(_ZLIB, mtime=0))
    ),
    passes("coding-identity", _TEXT, "a coding that is none", _coded(b"identity", _TEXT)),
    fails(
        "coding-member-cut",
        ContentDecodingError,
        "gzip whose second member is cut",
        _coded(b"gzip", _GZIP + _GZIP[:30]),
    ),
    fails("coding-checksum", ContentDecodingError, "gzip with a wrong checksum", path="/gzip-broken?how=checksum"),
    fails("coding-unknown", ContentDecodingError, "a coding that does not exist", _coded(b"rot13", b"bx")),
    fails("coding-three", ContentDecodingError, "three codings", _coded(b"gzip, gzip, gzip", _GZIP)),
    fails(
        "coding-and-short",
        IncompleteBodyError,
        "gzip, cut on the way: the announced length did not come",
        head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(_GZIP)) + _GZIP[:-5],
        End.CLOSE,
    ),
)

SIZE_FAULTS = (
    fails(
        "size-announced",
        BodyTooLargeError,
        "a length above the limit",
        path=f"/bytes/{MAX_BODY_BYTES + 1}",
        needs_options=True,
    ),
    fails("size-endless", BodyTooLargeError, "a body without end", path="/endless", needs_options=True),
    fails("size-bomb", BodyTooLargeError, "a gzip of 1 GB of zeros", path="/gzip-bomb/1000000000", needs_options=True),
    fails(
        "size-empty-members",
        BodyTooLargeError,
        "empty gzip members without end: they decode to nothing",
        head(b"Content-Encoding: gzip", CHUNKED),
        Repeat(chunk(gzip.compress(b"", mtime=0) * 1000)),
        needs_options=True,
    ),
)

CLOSE_FAULTS = (
    fails("close-no-answer", IncompleteBodyError, "closed without a word", path="/close"),
    fails("close-reset", ConnectError, "reset without a word", path="/reset?after=-1"),
    fails("close-reset-head", IncompleteBodyError, "reset after the head", path="/reset?after=0"),
    fails("close-reset-body", IncompleteBodyError, "reset within the body", path="/reset?after=1000"),
    fails("close-reset-late", IncompleteBodyError, "reset within a large body", path="/reset?after=400000"),
    fails("close-reset-unframed", IncompleteBodyError, "reset within a body without length", head() + _TEXT, End.RESET),
    passes("close-at-the-end", b"ok", "closed although the connection was to be kept", answer(b"ok"), End.CLOSE),
)
