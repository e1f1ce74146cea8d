"""Every usual fault of a server, a network or a URL: the class of its error, its words, and that the fetcher goes on.

The same for all four ways to fetch: into memory, into a digest, into a file, past a function.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fetch_helpers import ScriptedServer, quiet

import offloop
from offloop import fetch_and_hash_urls
from offloop.fetch import Fetcher, fetch_url
from offloop.testing import Origin, body_bytes, body_sha256

MAX_BODY = 1 << 20
TIMEOUT = 0.2

Fetch = Callable[[Fetcher, str, Path], Awaitable[Any]]


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


@pytest.fixture(scope="module")
def tls_origin() -> Iterator[Origin]:
    try:
        started = Origin(tls=True).start()
    except RuntimeError as error:
        pytest.skip(str(error))
    yield started
    started.stop()


async def into_memory(fetcher: Fetcher, url: str, folder: Path) -> Any:
    return await fetcher.get(url)


async def into_a_digest(fetcher: Fetcher, url: str, folder: Path) -> Any:
    return await fetcher.hash(url)


async def into_a_file(fetcher: Fetcher, url: str, folder: Path) -> Any:
    return await fetcher.stream(url, folder / "file")


async def past_a_function(fetcher: Fetcher, url: str, folder: Path) -> Any:
    return await fetcher.stream(url, lambda chunk: None)


WAYS = [into_memory, into_a_digest, into_a_file, past_a_function]
ENDLESS = [into_a_digest, past_a_function]  # these keep nothing


async def fails(fetcher: Fetcher, fetch: Fetch, url: str, folder: Path, kind: type[offloop.FetchError]) -> Any:
    """Fetches what must fail, and looks at all that every failure promises. Returns the error."""
    with pytest.raises(offloop.FetchError) as caught:
        await fetch(fetcher, url, folder)
    error = caught.value
    assert type(error) is kind
    assert error.url == url
    assert str(error).startswith(
        f"Fetch timed out for {url} after " if kind is offloop.FetchTimeoutError else f"Fetch failed for {url}: "
    )
    assert error.code
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.url, again.retryable) == (kind, str(error), url, error.retryable)
    assert os.listdir(folder) == []
    return error


async def all_fail(fetcher: Fetcher, url: str, folder: Path, kind: type[offloop.FetchError]) -> list[Any]:
    """The same in all four ways at once. Returns the errors."""
    folders = [folder / fetch.__name__ for fetch in WAYS]
    for own in folders:
        own.mkdir()
    return await asyncio.gather(
        *(fails(fetcher, fetch, url, own, kind) for fetch, own in zip(WAYS, folders, strict=True))
    )


# ---- by the origin ---------------------------------------------------------------------------------------------------

# Path, class, retryable, a word of the message.
FAULTS: dict[str, tuple[type[offloop.FetchError], bool, str]] = {
    "/reset": (offloop.IncompleteBodyError, True, "reset"),
    "/reset?after=0": (offloop.IncompleteBodyError, True, "reset"),
    "/reset?after=400000": (offloop.IncompleteBodyError, True, "reset"),
    "/reset?after=-1": (offloop.ConnectError, True, "reset"),
    "/close": (offloop.IncompleteBodyError, True, "Empty reply"),
    "/short?claim=2000&send=1000": (offloop.IncompleteBodyError, True, "1000 bytes remaining"),
    "/short?claim=1000000&send=999999": (offloop.IncompleteBodyError, True, "1 bytes remaining"),
    "/short?claim=10&send=0": (offloop.IncompleteBodyError, True, "10 bytes remaining"),
    "/chunked/5000?cut=4000": (offloop.IncompleteBodyError, True, "closed"),
    "/chunked/5000?cut=0": (offloop.IncompleteBodyError, True, "closed"),
    "/gzip-broken?how=data": (offloop.ContentDecodingError, False, "content"),
    "/gzip-broken?how=checksum": (offloop.ContentDecodingError, False, "incorrect data check"),
    "/gzip-broken?how=plain": (offloop.ContentDecodingError, False, "incorrect header check"),
    "/gzip-bomb/1000000000": (offloop.BodyTooLargeError, False, "larger than max_body, 1048576 bytes"),
    "/bytes/1048577": (offloop.BodyTooLargeError, False, "larger than max_body, 1048576 bytes"),
    "/endless": (offloop.BodyTooLargeError, False, "larger than max_body, 1048576 bytes"),
    "/redirect-loop": (offloop.TooManyRedirectsError, False, "more than 10 redirects"),
    "/redirect/11": (offloop.TooManyRedirectsError, False, "more than 10 redirects"),
    "/redirect-to?url=ftp://127.0.0.1/": (
        offloop.TooManyRedirectsError,
        False,
        "scheme must be http or https, got 'ftp'",
    ),
    "/redirect-to?url=file:///etc/passwd": (offloop.TooManyRedirectsError, False, "got 'file'"),
    "/redirect-to?url=http://127.0.0.1:1/": (offloop.ConnectError, True, "port 1"),
    "/redirect-to?url=/status/404": (offloop.HTTPStatusError, False, "HTTP status 404"),
    "/garbage": (offloop.FetchError, False, "HTTP/0.9"),
    "/status/404": (offloop.HTTPStatusError, False, "HTTP status 404"),
    "/status/503": (offloop.HTTPStatusError, True, "HTTP status 503"),
    "/hang": (offloop.FetchTimeoutError, True, "after 0.2s"),
    "/slow?seconds=600": (offloop.FetchTimeoutError, True, "after 0.2s"),
    "/drip?bytes=100&seconds=600": (offloop.FetchTimeoutError, True, "after 0.2s"),
}


@pytest.mark.parametrize("path", FAULTS)
@pytest.mark.loops("asyncio")
async def test_a_fault_of_the_origin_is_its_error_and_the_fetcher_goes_on(
    origin: Origin, tmp_path: Path, path: str
) -> None:
    kind, retryable, words = FAULTS[path]
    timeout = TIMEOUT if kind is offloop.FetchTimeoutError else 30.0
    async with Fetcher(max_body=MAX_BODY, timeout=timeout) as fetcher:
        for error in await all_fail(fetcher, origin.url(path), tmp_path, kind):
            assert error.retryable is retryable
            assert words in str(error)
        assert (await fetcher.hash(origin.url("/bytes/1000"), timeout=30)).hexdigest == body_sha256(1000)
        await asyncio.to_thread(origin.wait_for, lambda stats: stats.in_progress == 0)
        stats = fetcher.stats()
        assert (stats["failed"], stats["done"], stats["running"], stats["queued"]) == (4, 1, 0, 0)


@pytest.mark.parametrize(
    "path", ["/reset", "/short", "/gzip-broken", "/redirect-loop", "/garbage", "/status/500", "/hang"]
)
async def test_faults_are_the_same_on_every_loop(origin: Origin, path: str) -> None:
    url = origin.url(path)
    kind = FAULTS.get(path, (None, None, None))[0]
    found = await fetch_and_hash_urls([url, origin.url("/bytes/10")], timeout=TIMEOUT, return_exceptions=True)
    assert found[origin.url("/bytes/10")] == body_sha256(10)
    error = found[url]
    assert isinstance(error, kind or offloop.FetchError)
    with pytest.raises(type(error)):
        await fetch_url(url, timeout=TIMEOUT)


@pytest.mark.loops("asyncio")
async def test_a_compressed_body_that_was_cut_is_an_error(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher() as fetcher:
        await fails(
            fetcher, into_memory, origin.url("/gzip-broken?how=truncated"), tmp_path, offloop.ContentDecodingError
        )


async def test_an_endless_body_ends_at_the_timeout(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher(timeout=TIMEOUT, max_body=1 << 60) as fetcher:
        ways = [fails(fetcher, fetch, origin.url("/endless"), tmp_path, offloop.FetchTimeoutError) for fetch in ENDLESS]
        await asyncio.gather(*ways)
        assert (await fetcher.get(origin.url("/bytes/10"), timeout=30)).size == 10


async def test_a_thousand_faults_at_once_leave_nothing_behind(origin: Origin) -> None:
    paths = [
        "/reset",
        "/short",
        "/gzip-broken",
        "/redirect-loop",
        "/garbage",
        "/status/500",
        "/close",
        "/chunked/99?cut=9",
    ]
    right = {origin.url(f"/bytes/{n}?seed=f"): body_sha256(n, "f") for n in range(200)}
    wrong = [f"{origin.url(path)}{'&' if '?' in path else '?'}n={n}" for n in range(50) for path in paths]
    mixed = [url for pair in zip(list(right) * 2, wrong, strict=True) for url in pair]
    found = await fetch_and_hash_urls(mixed, 32, return_exceptions=True, timeout=30)
    assert {url: found[url] for url in right} == right
    kinds = {type(found[url]) for url in wrong}
    assert kinds == {
        offloop.IncompleteBodyError,
        offloop.ContentDecodingError,
        offloop.TooManyRedirectsError,
        offloop.FetchError,
        offloop.HTTPStatusError,
    }


# ---- by a server that says what it is told ---------------------------------------------------------------------------

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# Answer, class or the body's length, word of the message.
ANSWERS: dict[str, tuple[bytes, type[offloop.FetchError] | int, str]] = {
    "more than the length said": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0123456789" * 3, 5, ""),
    "a body without length ends with the connection": (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(70_000), 70_000, ""),
    "an early hint before the head": (b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + PAGE, 2, ""),
    "chunked and a length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        3,
        "",
    ),
    "a length that is no number": (
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
        offloop.FetchError,
        "Content-Length",
    ),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nab", offloop.FetchError, "Content-Length"),
    "a chunk size that is no number": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        offloop.IncompleteBodyError,
        "chunk",
    ),
    "an encoding that is not known": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\nContent-Length: 2\r\n\r\nab",
        offloop.ContentDecodingError,
        "encoding",
    ),
    "the connection ends in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", offloop.IncompleteBodyError, ""),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60_000, offloop.FetchError, "header"),
    "a header line without end": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000, offloop.FetchError, "header"),
    "binary zeros": (bytes(5000), offloop.FetchError, ""),
    "no location in a redirect": (b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nab", 2, ""),
    "a location without host": (
        b"HTTP/1.1 302 Found\r\nLocation: http://\r\nContent-Length: 0\r\n\r\n",
        offloop.TooManyRedirectsError,
        "not allowed",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.loops("asyncio")
async def test_an_answer_out_of_the_ordinary(tmp_path: Path, name: str) -> None:
    answer, expected, words = ANSWERS[name]
    with ScriptedServer(*[answer] * 4, PAGE) as server:
        async with Fetcher(timeout=20) as fetcher:
            for number, fetch in enumerate(WAYS):
                url = server.url(f"/{number}")
                if isinstance(expected, int):
                    assert (await fetch(fetcher, url, tmp_path)).size == expected
                else:
                    error = await fails(fetcher, fetch, url, tmp_path, expected)
                    assert words.lower() in str(error).lower()
            # What followed a lying length is not taken for the next answer.
            assert (await fetcher.get(server.url("/5"))).read() == b"ok"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"]
)
@pytest.mark.loops("asyncio")
async def test_an_answer_that_stops_is_a_timeout(tmp_path: Path, answer: bytes) -> None:
    with ScriptedServer(answer, hold=True) as server:
        async with Fetcher(timeout=TIMEOUT) as fetcher:
            for error in await all_fail(fetcher, server.url(), tmp_path, offloop.FetchTimeoutError):
                assert error.retryable


# ---- no connection ---------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_a_connect_error(tmp_path: Path) -> None:
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        async with Fetcher() as fetcher:
            for fetch in WAYS:
                assert (await fails(fetcher, fetch, url, tmp_path, offloop.ConnectError)).retryable
    with pytest.raises(offloop.ConnectError):
        await fetch_url(url)


async def test_a_host_that_never_answers_is_a_timeout_while_connecting(tmp_path: Path) -> None:
    # A listener whose queue is full: the kernel drops what comes.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            async with Fetcher(connect_timeout=TIMEOUT, timeout=60) as fetcher:
                url = f"http://127.0.0.1:{address[1]}/"
                error = await fails(fetcher, into_memory, url, tmp_path, offloop.FetchTimeoutError)
    assert str(error) == f"Fetch timed out for {url} after 0.2s while connecting"
    assert error.retryable


async def test_a_host_that_cannot_be_resolved_is_a_dns_error(tmp_path: Path, origin: Origin) -> None:
    url = "http://no-such-host.invalid/page"
    async with Fetcher(env_proxy=False, timeout=30, connect_timeout=30) as fetcher:
        with pytest.raises(offloop.DNSError) as caught:
            await fetcher.get(url)
        assert caught.value.url == url
        assert str(caught.value).startswith(f"Fetch failed for {url}: host name cannot be resolved: ")
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5


# ---- TLS -------------------------------------------------------------------------------------------------------------


async def test_a_certificate_that_nobody_vouches_for_is_a_tls_error(tls_origin: Origin, tmp_path: Path) -> None:
    async with Fetcher() as fetcher:
        for fetch in WAYS:
            error = await fails(fetcher, fetch, tls_origin.url("/bytes/10"), tmp_path, offloop.TLSError)
            assert not error.retryable
            assert "certificate" in str(error)
    assert tls_origin.stats().requests == 0


async def test_with_its_authority_the_certificate_is_good(tls_origin: Origin) -> None:
    assert tls_origin.ca_file is not None
    for ca_file in (tls_origin.ca_file, Path(tls_origin.ca_file)):
        async with Fetcher(ca_file=ca_file) as fetcher:
            response = await fetcher.get(tls_origin.url("/bytes/300000"))
            assert response.read() == body_bytes(300_000)
            assert 0 < response.timings["connect"] < response.timings["tls"] <= response.timings["first_byte"]
            by_name = await fetcher.get(f"https://localhost:{tls_origin.port}/bytes/5")
            assert by_name.size == 5
    tls_origin.reset_stats()


async def test_a_certificate_for_another_name_is_a_tls_error(tls_origin: Origin, tmp_path: Path) -> None:
    override = ["elsewhere.test:127.0.0.1"]
    async with Fetcher(ca_file=tls_origin.ca_file, resolve=override, env_proxy=False) as fetcher:
        url = f"https://elsewhere.test:{tls_origin.port}/"
        await fails(fetcher, into_memory, url, tmp_path, offloop.TLSError)
    async with Fetcher(verify_tls=False, resolve=override, env_proxy=False) as fetcher:
        assert (await fetcher.get(f"https://elsewhere.test:{tls_origin.port}/bytes/5")).size == 5
    tls_origin.reset_stats()


async def test_plain_http_where_tls_is_expected_is_a_tls_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        answering = asyncio.create_task(asyncio.to_thread(answer))
        async with Fetcher() as fetcher:
            await fails(fetcher, into_memory, f"https://127.0.0.1:{port}/", tmp_path, offloop.TLSError)
        await answering


# ---- URLs ------------------------------------------------------------------------------------------------------------

INVALID: dict[str, str] = {
    "": "empty",
    "example.com": "must start with http:// or https://",
    "//example.com/": "must start with http:// or https://",
    "ftp://example.com/": "scheme must be http or https, got 'ftp'",
    "file:///etc/passwd": "scheme must be http or https, got 'file'",
    "http://": "no host",
    "http:///path": "no host",
    "http://:80/": "no host",
    "http://host:0/": "port must be a number from 1 to 65535",
    "http://host:65536/": "port must be a number from 1 to 65535",
    "http://host:-1/": "port must be a number from 1 to 65535",
    "http://host:x/": "port must be a number from 1 to 65535",
    "http://ho st/": "blank or control character",
    "http://host/a b": "blank or control character",
    "http://host/\r\nX: y": "blank or control character",
    "http://host/\0": "blank or control character",
    "http://[::1": "IPv6",
    "http://[nonsense]/": "",
    "http://host/\udc80": "cannot be encoded",
    "http://" + "a" * 300 + "/": "",
}


@pytest.mark.parametrize("url", INVALID)
@pytest.mark.loops("asyncio")
async def test_an_invalid_url_is_an_error_at_once(tmp_path: Path, url: str) -> None:
    async with Fetcher() as fetcher:
        calls: list[Callable[[str], Any]] = [
            fetcher.get,
            fetcher.hash,
            lambda url: fetcher.stream(url, tmp_path / "file"),
            lambda url: fetcher.stream(url, print),
            fetch_url,
        ]
        for call in calls:
            with pytest.raises(offloop.InvalidURLError) as caught:
                call(url)
            assert isinstance(caught.value, ValueError)
            assert INVALID[url] in str(caught.value)
            assert not caught.value.retryable
        assert set(fetcher.stats().values()) == {0}
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("url", [None, 5, b"http://example.com/", ["http://example.com/"]])
def test_a_url_of_the_wrong_type_is_a_type_error(url: Any) -> None:
    with pytest.raises(TypeError, match=f"url must be a str, not {type(url).__name__}"):
        fetch_url(url)
