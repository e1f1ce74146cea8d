"""Fetching off the event loop: libcurl on I/O threads of its own, bodies hashed in the core while they arrive.

Functions that return an :class:`offloop.Operation` are plain functions: the transfer is queued when they are called in
a running event loop. Cancelling an operation closes its connection at once.
"""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Literal, overload

from . import _ext
from ._arguments import (
    MOST_SECONDS,
    as_count,
    as_flag,
    as_path,
    as_seconds,
    as_text,
    as_texts,
    as_url,
    is_encodable,
    unsendable,
)
from ._core import Operation
from ._ext import HashedResponse, Response, ResponseInfo

__all__ = [
    "Fetcher",
    "HashedResponse",
    "Response",
    "ResponseInfo",
    "fetch_and_hash_urls",
    "fetch_url",
]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Sink = str | bytes | os.PathLike[str] | os.PathLike[bytes] | Callable[[memoryview], object]


class Fetcher:
    """Many transfers at once on few I/O threads: keep-alive, redirects, decompression, limits.

    Every option is a keyword argument; C++ and the command line have the same names.

    :param io_threads: 1 to 64; one is right until it is saturated (some 60,000 small requests a second).
    :param max_concurrent: transfers in flight, over all hosts.
    :param per_host: transfers in flight to one host name; 0 for no limit of its own.
    :param connect_timeout: seconds for name look-up, TCP and TLS together, per hop; ``math.inf`` for none.
    :param timeout: seconds from leaving the queue to the last byte, over all hops; ``math.inf`` for none.
    :param low_speed_bytes: slower than so many bytes a second...
    :param low_speed_time: ...for so many seconds is a timeout; 0 turns it off.
    :param max_redirects: 0 makes a redirect an error.
    :param max_body: bytes of one body, counted after decompression.
    :param fail_on_status: a status of 400 or above is :class:`offloop.HTTPStatusError`.
    :param verify_tls: check the server's certificate.
    :param ca_file: a PEM file instead of the system's certificates.
    :param decompress: ask for and decode gzip, br and zstd.
    :param http2: offer HTTP/2 on https.
    :param user_agent: instead of offloop's own.
    :param headers: sent with every request.
    :param env_proxy: honour ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``; loopback
        addresses are always reached directly.
    :param addresses: ``"public_only"`` refuses loopback, private and other special addresses after name resolution, on
        every hop; ``"allow_all"`` (default) does not.
    :param allow_cidrs: networks that are allowed whatever ``addresses`` says.
    :param deny_cidrs: networks that are always refused.
    :param resolve: ``"host:address"`` overrides of name resolution.
    :raises TypeError: an option of the wrong type or an unknown one.
    :raises ValueError: an option out of its range; the message names it.

    Use it as an ``async with`` block or call :meth:`close`. Its methods are for the threads of event loops; it serves
    several loops at once.
    """

    def __init__(
        self,
        *,
        io_threads: int = 1,
        max_concurrent: int = 64,
        per_host: int = 0,
        connect_timeout: float = 5.0,
        timeout: float = 10.0,
        low_speed_bytes: int = 1000,
        low_speed_time: int = 20,
        max_redirects: int = 10,
        max_body: int = 1 << 30,
        fail_on_status: bool = True,
        verify_tls: bool = True,
        ca_file: str | os.PathLike[str] | None = None,
        decompress: bool = True,
        http2: bool = False,
        user_agent: str | None = None,
        headers: Headers = (),
        env_proxy: bool = True,
        addresses: Literal["allow_all", "public_only"] = "allow_all",
        allow_cidrs: Iterable[str] = (),
        deny_cidrs: Iterable[str] = (),
        resolve: Iterable[str] = (),
    ) -> None:
        options = _ext.FetcherOptions()
        options.io_threads = as_count("io_threads", io_threads, 1, 64)
        options.max_concurrent = as_count("max_concurrent", max_concurrent, 1, 65536)
        options.per_host = as_count("per_host", per_host, 0)
        options.connect_timeout = as_seconds("connect_timeout", connect_timeout)
        options.timeout = as_seconds("timeout", timeout)
        options.low_speed_bytes = as_count("low_speed_bytes", low_speed_bytes, 0)
        options.low_speed_time = as_count("low_speed_time", low_speed_time, 0, int(MOST_SECONDS))
        options.max_redirects = as_count("max_redirects", max_redirects, 0, 100)
        options.max_body = as_count("max_body", max_body, 0, 2**63 - 1)
        options.fail_on_status = as_flag("fail_on_status", fail_on_status)
        options.verify_tls = as_flag("verify_tls", verify_tls)
        options.ca_file = as_path("ca_file", ca_file) if ca_file is not None else ""
        options.decompress = as_flag("decompress", decompress)
        options.http2 = as_flag("http2", http2)
        options.user_agent = as_text("user_agent", user_agent) if user_agent is not None else ""
        options.headers = _header_list(headers)
        options.env_proxy = as_flag("env_proxy", env_proxy)
        if addresses not in ("allow_all", "public_only"):
            raise ValueError(f"addresses must be 'allow_all' or 'public_only', got {addresses!r}")
        options.addresses = getattr(_ext.AddressMode, addresses)
        options.allow_cidrs = as_texts("allow_cidrs", allow_cidrs)
        options.deny_cidrs = as_texts("deny_cidrs", deny_cidrs)
        options.resolve = as_texts("resolve", resolve)
        self._fetcher = _ext.Fetcher(options)

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes no more, cancels what is in flight, closes the connections. Returns at once; may be called again."""
        self._fetcher.close()

    @property
    def closed(self) -> bool:
        """True after :meth:`close`: a further request raises :class:`offloop.PoolClosedError`."""
        return self._fetcher.closed

    def get(
        self, url: str, *, headers: Headers = (), timeout: float | None = None, max_body: int | None = None
    ) -> Operation[Response]:
        """Fetches ``url`` into memory.

        :returns: an operation that yields a :class:`Response`; its ``body`` is a memoryview of the decoded bytes, not a
            copy.
        :raises InvalidURLError: at once, when the URL is not one (http and https only). Nothing has been queued then.
        :raises FetchError: from the operation, or one of its subclasses, which say what to do next.
        """
        return self._fetcher.get(as_url(url), _header_list(headers), _timeout(timeout), _max_body(max_body), False)

    def hash(
        self,
        url: str,
        algorithm: str = "sha256",
        *,
        headers: Headers = (),
        timeout: float | None = None,
        max_body: int | None = None,
    ) -> Operation[HashedResponse]:
        """Fetches ``url`` and hashes the decoded body while it arrives; the body is not kept.

        :returns: an operation that yields a :class:`HashedResponse` (``digest``, ``hexdigest``, ``size``, ``status``,
            ...).
        :raises ValueError: at once, for an unknown algorithm.
        :raises InvalidURLError: at once, as :meth:`get`.
        """
        name = as_text("algorithm", algorithm)
        return self._fetcher.hash(as_url(url), name, _header_list(headers), _timeout(timeout), _max_body(max_body))

    def stream(
        self,
        url: str,
        sink: Sink,
        *,
        headers: Headers = (),
        timeout: float | None = None,
        max_body: int | None = None,
    ) -> Operation[ResponseInfo]:
        """Fetches ``url`` into a file, or past a function.

        :param sink: a path: written by a writer thread as ``path + ".part"``, renamed when complete, removed otherwise.
            Or a plain callable: called on the loop with a memoryview of up to 256 KiB, which is released when it
            returns (what was made of it, as a slice or an array, stays valid and keeps its chunk in memory); at most
            four chunks wait for it, then the transfer does. An exception that it raises ends the transfer and is the
            operation's.
        :returns: an operation that yields a :class:`ResponseInfo`.
        :raises OSError: from the operation, with the path, when the file cannot be written.
        """
        if inspect.iscoroutinefunction(sink):
            raise TypeError("sink must be a plain function, not a coroutine function: nobody would await it")
        target = sink if callable(sink) else os.fsencode(as_path("sink", sink))
        return self._fetcher.stream(as_url(url), target, _header_list(headers), _timeout(timeout), _max_body(max_body))

    def stats(self) -> dict[str, int]:
        """Transfers queued, running, done, failed and stopped, body bytes, connections opened, wakes, name look-ups."""
        return self._fetcher.stats()

    def __repr__(self) -> str:
        return "<offloop.fetch.Fetcher closed>" if self.closed else f"<offloop.fetch.Fetcher {self.stats()}>"


def fetch_url(url: str, timeout: float = 10) -> Operation[bytes]:
    """Fetches ``url`` into memory, through the process's shared connections.

    :param timeout: seconds for everything, redirects included.
    :returns: an operation that yields the decoded body, at most 1 GiB.
    :raises InvalidURLError: at once; nothing has been queued then.
    :raises HTTPStatusError: from the operation, for a status of 400 or above.
    :raises FetchTimeoutError: "Fetch timed out for {url} after {n}s".
    :raises FetchError: "Fetch failed for {url}: ...", or one of its subclasses.
    """
    return shared_fetcher()._fetcher.get(as_url(url), [], as_seconds("timeout", timeout), None, True)


@overload
async def fetch_and_hash_urls(
    urls: Iterable[str], max_concurrent: int = 5, *, timeout: float = 10, return_exceptions: Literal[False] = False
) -> dict[str, str]: ...
@overload
async def fetch_and_hash_urls(
    urls: Iterable[str], max_concurrent: int = 5, *, timeout: float = 10, return_exceptions: bool
) -> dict[str, str | BaseException]: ...
async def fetch_and_hash_urls(
    urls: Iterable[str], max_concurrent: int = 5, *, timeout: float = 10, return_exceptions: bool = False
) -> Mapping[str, str | BaseException]:
    """Fetches URLs and hashes their bodies in the core; no body enters Python or stays in memory.

    :param urls: what to fetch; one listed twice is fetched once.
    :param max_concurrent: at most so many transfers of this call at a time.
    :param timeout: seconds for each URL.
    :param return_exceptions: put the error in the result instead of raising it.
    :returns: URL to hexadecimal SHA-256, keys in input order.
    :raises ExceptionGroup: on the first failure, with its error; everything else has been cancelled and its connections
        closed by then, as in a TaskGroup.
    :raises TypeError: an argument of the wrong type; nothing has been fetched then.
    :raises ValueError: ``max_concurrent`` or ``timeout`` is not greater than 0, or a URL is not one
        (:class:`offloop.InvalidURLError`; with ``return_exceptions`` it is that URL's value).
    """
    if isinstance(urls, (str, bytes)):
        raise TypeError(f"urls must be an iterable of str, not one {type(urls).__name__}")
    if not isinstance(urls, Iterable):
        raise TypeError(f"urls must be an iterable of str, not {type(urls).__name__}")
    limit = as_count("max_concurrent", max_concurrent, 1, math.inf)
    seconds = as_seconds("timeout", timeout)
    answers: dict[str, str | BaseException | None] = dict.fromkeys(as_text("url", url) for url in urls)
    for url in answers:
        if not is_encodable(url):
            answers[url] = unsendable(url)
        if not return_exceptions:
            _ext.check_url(as_url(url))
    wanted = [url for url, answer in answers.items() if answer is None]
    if wanted:
        started = shared_fetcher()._fetcher.hash_urls(wanted, min(limit, len(wanted)), seconds, not return_exceptions)
        answers.update(zip(wanted, await started, strict=True))
    errors = [answer for answer in answers.values() if isinstance(answer, Exception)]
    if errors and not return_exceptions:
        raise ExceptionGroup(f"{len(errors)} of {len(answers)} URLs failed", errors)
    return {url: answer for url, answer in answers.items() if answer is not None}


_SHARED_CONCURRENCY = 1024
_shared_lock = threading.Lock()
_shared_fetcher: Fetcher | None = None
_shared_pid = 0


def shared_fetcher() -> Fetcher:
    """The fetcher of the module's functions: made on first use, made anew in a forked child."""
    global _shared_fetcher, _shared_pid
    fetcher = _shared_fetcher
    if fetcher is not None and _shared_pid == os.getpid():
        return fetcher
    with _shared_lock:
        if _shared_fetcher is None or _shared_pid != os.getpid():
            _shared_fetcher = Fetcher(max_concurrent=_SHARED_CONCURRENCY)
            _shared_pid = os.getpid()
        return _shared_fetcher


def _forget_lock() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


def _timeout(value: float | None) -> float | None:
    return None if value is None else as_seconds("timeout", value)


def _max_body(value: int | None) -> int | None:
    return None if value is None else as_count("max_body", value, 0, 2**63 - 1)


def _header_list(headers: Headers) -> list[tuple[str, str]]:
    if not isinstance(headers, Iterable):
        raise TypeError(f"headers must be a mapping or pairs of str, not {type(headers).__name__}")
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(word, str) for word in pair):
            raise TypeError(f"headers must be a mapping or pairs of str, got {pair!r}")
    return pairs
