"""Fetcher.get and Fetcher.hash: what comes back, and what is sent."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import json
import tracemalloc

import pytest
from fetch_helpers import LARGE, ScriptedServer, quiet, sees

import offloop
from offloop.fetch import Fetcher
from offloop.testing import Origin, body_bytes, body_sha256

CHUNK_BYTES = 256 * 1024


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


# ---- the response ----------------------------------------------------------------------------------------------------


async def test_a_response_has_status_headers_final_url_and_body(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        response = await fetcher.get(origin.url("/bytes/1000?seed=r"))
    assert response.status == 200
    assert response.final_url == origin.url("/bytes/1000?seed=r")
    assert response.redirects == 0
    assert response.headers == [("Content-Type", "application/octet-stream"), ("Content-Length", "1000")]
    assert response.header("content-LENGTH") == "1000"
    assert response.header("x-none") is None
    assert response.header("x-none", "else") == "else"
    assert (response.size, len(response.body)) == (1000, 1000)
    assert (response.peer_ip, response.http_version, response.reused_connection) == ("127.0.0.1", "1.1", False)
    assert bytes(response.body) == response.read() == body_bytes(1000, "r")
    assert repr(response) == f"<offloop.fetch.Response [200] {response.final_url}>"


async def test_the_final_url_is_where_redirects_led(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        response = await fetcher.get(origin.url("/redirect/3"))
        assert (response.status, response.redirects, response.final_url) == (200, 3, origin.url("/"))
        relative = await fetcher.get(origin.url("/redirect-to?url=bytes/7&status=308"))
        assert (relative.final_url, relative.size) == (origin.url("/bytes/7"), 7)


async def test_timings_are_seconds_and_follow_each_other(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        response = await fetcher.get(origin.url("/slow?seconds=0.05"))
    timings = response.timings
    assert set(timings) == {"queue", "dns", "connect", "tls", "first_byte", "total"}
    assert 0 < timings["connect"] <= timings["first_byte"] <= timings["total"] == response.elapsed
    assert timings["first_byte"] >= 0.05  # the origin had not said a word before
    assert timings["tls"] == 0


async def test_the_body_outlives_the_response_and_the_fetcher(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        response = await fetcher.get(origin.url(f"/bytes/{LARGE}"))
        body = response.body
        piece = body[1000:2000]
        del response, body
    del fetcher
    gc.collect()
    assert bytes(piece) == body_bytes(2000)[1000:]


async def test_the_body_is_a_read_only_view_of_memory_that_is_not_pythons(origin: Origin) -> None:
    numpy = pytest.importorskip("numpy")
    async with Fetcher() as fetcher:
        tracemalloc.start()
        try:
            response = await fetcher.get(origin.url("/bytes/20000000"))
            first, second = response.body, response.body
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1_000_000, "a body of 20 MB was copied into Python's memory"
    assert (first.readonly, first.format, first.contiguous) == (True, "B", True)
    addresses = [numpy.frombuffer(view, numpy.uint8).__array_interface__["data"][0] for view in (first, second)]
    assert addresses[0] == addresses[1]
    assert hashlib.sha256(first).hexdigest() == body_sha256(20_000_000)
    with pytest.raises(TypeError):
        first[0] = 1


async def test_text_decodes_as_it_is_told() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab\xe9\xff"
    with ScriptedServer(answer) as server:
        async with Fetcher() as fetcher:
            response = await fetcher.get(server.url())
    assert response.text("latin-1") == "ab\xe9\xff"
    assert response.text(errors="replace") == "ab\ufffd\ufffd"
    with pytest.raises(UnicodeDecodeError):
        response.text()
    with pytest.raises(LookupError):
        response.text("no-such-encoding")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES, LARGE])
@pytest.mark.parametrize("route", ["bytes", "chunked", "gzip"])
@pytest.mark.loops("asyncio")
async def test_bodies_of_every_size_come_whole(origin: Origin, route: str, size: int) -> None:
    url = origin.url(f"/{route}/{size}?seed=whole")
    right = body_bytes(size, "whole")
    streamed: list[bytes] = []
    async with Fetcher() as fetcher:
        response = await fetcher.get(url)
        hashed = await fetcher.hash(url)
        info = await fetcher.stream(url, lambda chunk: streamed.append(bytes(chunk)))
    assert response.read() == right
    assert hashed.digest == hashlib.sha256(right).digest()
    assert b"".join(streamed) == right
    assert response.size == hashed.size == info.size == size


async def test_without_decompress_the_bytes_come_as_sent(origin: Origin) -> None:
    async with Fetcher(decompress=False) as fetcher:
        response = await fetcher.get(origin.url("/gzip/5000"))
        request = json.loads((await fetcher.get(origin.url("/headers"))).read())
    assert gzip.decompress(response.body) == body_bytes(5000)
    assert "accept-encoding" not in {name for name, _ in request["headers"]}


async def test_repeated_headers_are_all_there_in_order() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX:  a b \r\nset-cookie:b\r\nEmpty:\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer(answer) as server:
        async with Fetcher() as fetcher:
            response = await fetcher.get(server.url())
            assert [value for name, value in response.headers if name.lower() == "set-cookie"] == ["a", "b"]
    assert (response.header("SET-COOKIE"), response.header("x")) == ("a", "a b")
    assert response.header("empty", "default") == ""


async def test_headers_and_urls_that_are_not_utf_8_are_latin_1() -> None:
    page = b"HTTP/1.1 200 OK\r\nX: \xe9\r\nY: \xc3\xa9\r\n\xff: z\r\nContent-Length: 0\r\n\r\n"
    moved = b"HTTP/1.1 302 Found\r\nLocation: /\xe9\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    wrong = b"HTTP/1.1 302 Found\r\nLocation: ftp://\xe9/\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer(moved, page) as server:
        async with Fetcher() as fetcher:
            response = await fetcher.get(server.url())
            assert (response.header("x"), response.header("y")) == ("\xe9", "\xe9")
            assert ("\xff", "z") in response.headers
            assert response.final_url in repr(response)
    with ScriptedServer(wrong) as server:
        async with Fetcher() as fetcher:
            with pytest.raises(offloop.TooManyRedirectsError, match="redirect to a URL that is not allowed"):
                await fetcher.get(server.url())


# ---- what is sent ----------------------------------------------------------------------------------------------------


async def test_headers_of_the_fetcher_and_of_the_call_are_sent(origin: Origin) -> None:
    async with Fetcher(headers={"X-All": "1", "X-Both": "fetcher"}, user_agent="tester/1") as fetcher:
        response = await fetcher.get(origin.url("/headers"), headers=[("X-One", "2"), ("X-Both", "call")])
    sent = dict(map(tuple, json.loads(response.read())["headers"]))
    assert (sent["x-all"], sent["x-one"], sent["x-both"], sent["user-agent"]) == ("1", "2", "call", "tester/1")


async def test_the_default_user_agent_names_offloop_and_what_it_can_decode_is_asked_for(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        sent = dict(map(tuple, json.loads((await fetcher.get(origin.url("/headers"))).read())["headers"]))
    assert sent["user-agent"].startswith("offloop/")
    assert "gzip" in sent["accept-encoding"]


async def test_a_kept_alive_connection_is_used_again() -> None:
    with Origin() as origin:  # of its own: the process's fetcher keeps connections to the other one
        async with Fetcher() as fetcher:
            responses = [await fetcher.get(origin.url(f"/bytes/100?n={n}")) for n in range(20)]
            assert [response.reused_connection for response in responses] == [False] + [True] * 19
            assert fetcher.stats()["connections_opened"] == 1
        assert (await sees(origin, lambda stats: stats.open_connections == 0)).connections == 1


# ---- hash ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512", "sha3_256", "md5", "blake2b"])
@pytest.mark.parametrize("size", [0, 1000, LARGE])
@pytest.mark.loops("asyncio")
async def test_hash_knows_other_algorithms(origin: Origin, algorithm: str, size: int) -> None:
    async with Fetcher() as fetcher:
        response = await fetcher.hash(origin.url(f"/bytes/{size}?seed=h"), algorithm)
    right = hashlib.new(algorithm, body_bytes(size, "h"))
    assert (response.hexdigest, response.digest) == (right.hexdigest(), right.digest())
    assert (response.status, response.size) == (200, size)


async def test_an_unknown_algorithm_is_a_value_error_at_once(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        with pytest.raises(ValueError, match=r"algorithm must be one of .*sha256.*; got 'rot13'"):
            fetcher.hash(origin.url("/"), "rot13")
        with pytest.raises(TypeError, match="algorithm must be a str, not int"):
            fetcher.hash(origin.url("/"), 256)  # type: ignore[arg-type]
    assert (await asyncio.to_thread(origin.stats)).requests == 0
