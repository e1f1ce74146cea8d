"""offloop.fetch.Fetcher and fetch_url: what comes back, where it goes, which options hold, how it ends."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import hashlib
import json
import math
import os
import re
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import until
from conftest import live_counts
from fetch_helpers import LARGE, ScriptedServer, abandoned, in_progress, quiet, sees

import offloop
from offloop.fetch import Fetcher, fetch_url
from offloop.testing import Origin, body_bytes, body_sha256

CHUNK_BYTES = 256 * 1024
MAX_HELD = 4


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


async def test_a_kept_alive_connection_is_used_again(origin: Origin) -> None:
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


# ---- stream to a file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
@pytest.mark.parametrize("size", [0, 10, LARGE])
@pytest.mark.loops("asyncio")
async def test_a_body_is_streamed_into_a_file(
    origin: Origin, tmp_path: Path, kind: Callable[[Path], Any], size: int
) -> None:
    path = tmp_path / "b\xf6dy.bin"
    async with Fetcher() as fetcher:
        info = await fetcher.stream(origin.url(f"/bytes/{size}"), kind(path))
    assert path.read_bytes() == body_bytes(size)
    assert (info.status, info.size, info.header("content-length")) == (200, size, str(size))
    assert os.listdir(tmp_path) == [path.name]
    assert not hasattr(info, "body")


async def test_the_file_has_its_name_only_when_it_is_complete(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    async with Fetcher() as fetcher:
        # The first chunk is written at once; the rest never comes.
        operation = fetcher.stream(origin.url("/reset?after=1000000"), path)
        with pytest.raises(offloop.IncompleteBodyError):
            await operation
        assert (os.listdir(tmp_path), path.read_text()) == (["file"], "old")
        await fetcher.stream(origin.url("/bytes/10"), path)
    assert path.read_bytes() == body_bytes(10)


async def test_a_cancelled_stream_removes_its_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    part = tmp_path / "file.part"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"
    with ScriptedServer(head + bytes(2_000_000), hold=True) as server:
        async with Fetcher() as fetcher:
            operation = fetcher.stream(server.url(), path)
            await until(part.exists, "the .part file")
            assert not path.exists()
            operation.cancel()
            with pytest.raises(asyncio.CancelledError):
                await operation
            await until(lambda: not part.exists(), "the .part file's end")
    assert os.listdir(tmp_path) == []


async def test_a_file_that_cannot_be_written_is_an_os_error_with_its_path(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    cases = [
        (tmp_path / "missing" / "file", FileNotFoundError, errno.ENOENT),
        (tmp_path / "plain" / "file", NotADirectoryError, errno.ENOTDIR),
        (tmp_path, IsADirectoryError, errno.EISDIR),
    ]
    async with Fetcher() as fetcher:
        for path, kind, number in cases:
            for size in (10, LARGE):
                with pytest.raises(kind) as caught:
                    await fetcher.stream(origin.url(f"/bytes/{size}"), path)
                assert (caught.value.errno, caught.value.filename) == (number, str(path))
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
    assert os.listdir(tmp_path) == ["plain"]
    assert not tmp_path.with_name(tmp_path.name + ".part").exists()


async def test_a_full_disk_is_an_os_error_and_leaves_nothing(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with Fetcher() as fetcher:
        for size in (10, LARGE):
            (tmp_path / "file.part").symlink_to("/dev/full")
            with pytest.raises(OSError, match="No space left on device") as caught:
                await fetcher.stream(origin.url(f"/bytes/{size}"), path)
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
            assert os.listdir(tmp_path) == []


async def test_a_sink_that_is_neither_path_nor_callable_is_a_type_error(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        with pytest.raises(TypeError, match="sink must be a path or a callable, not int"):
            fetcher.stream(origin.url("/"), 5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="sink contains a null character"):
            fetcher.stream(origin.url("/"), "a\0b")
    assert (await asyncio.to_thread(origin.stats)).requests == 0


# ---- stream past a function ------------------------------------------------------------------------------------------


async def test_chunks_come_in_order_on_the_loops_thread_and_are_released(origin: Origin) -> None:
    pieces: list[bytes] = []
    views: list[memoryview] = []
    threads: set[int] = set()

    def take(chunk: memoryview) -> None:
        assert chunk.readonly
        pieces.append(bytes(chunk))
        views.append(chunk)
        threads.add(threading.get_ident())

    async with Fetcher() as fetcher:
        info = await fetcher.stream(origin.url(f"/bytes/{LARGE}?seed=c"), take)
    assert b"".join(pieces) == body_bytes(LARGE, "c")
    assert {len(piece) for piece in pieces[:-1]} == {CHUNK_BYTES}
    assert 0 < len(pieces[-1]) <= CHUNK_BYTES
    assert threads == {threading.get_ident()}
    assert info.size == LARGE
    for view in views:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


async def test_an_empty_body_calls_nobody(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        info = await fetcher.stream(origin.url("/bytes/0"), lambda chunk: pytest.fail("called"))
    assert info.size == 0


async def test_an_exception_in_the_callback_ends_the_transfer_and_is_raised(origin: Origin) -> None:
    class Enough(Exception):
        pass

    calls = 0

    def take(chunk: memoryview) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Enough("three")

    async with Fetcher() as fetcher:
        with pytest.raises(Enough, match="three"):
            await fetcher.stream(origin.url("/endless"), take)
        assert calls == 3
        assert (await abandoned(origin, 1)).requests == 1
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5


async def test_an_exception_for_the_last_chunk_is_raised_too(origin: Origin) -> None:
    def take(chunk: memoryview) -> None:
        raise LookupError(len(chunk))

    async with Fetcher() as fetcher:
        with pytest.raises(LookupError, match=r"^10$"):
            await fetcher.stream(origin.url("/bytes/10"), take)


@pytest.mark.loops("asyncio")
async def test_an_exception_of_the_callback_keeps_its_traceback(origin: Origin) -> None:
    def take(chunk: memoryview) -> None:
        raise LookupError

    async with Fetcher() as fetcher:
        with pytest.raises(LookupError) as caught:
            await fetcher.stream(origin.url("/bytes/10"), take)
    assert caught.traceback[-1].name == "take"


async def test_what_was_made_of_a_chunk_stays_readable(origin: Origin) -> None:
    numpy = pytest.importorskip("numpy")
    slices: list[memoryview] = []
    arrays: list[Any] = []

    def take(chunk: memoryview) -> None:
        slices.append(chunk[:1000])
        if len(slices) > 5:
            arrays.append(numpy.frombuffer(chunk, numpy.uint8))

    async with Fetcher() as fetcher:
        await fetcher.stream(origin.url(f"/bytes/{LARGE}?seed=k"), take)
    right = body_bytes(LARGE, "k")
    assert b"".join(slices) == b"".join(right[at : at + 1000] for at in range(0, LARGE, CHUNK_BYTES))
    assert b"".join(map(bytes, arrays)) == right[5 * CHUNK_BYTES :]


async def test_a_callback_must_be_a_plain_function(origin: Origin) -> None:
    async def take(chunk: memoryview) -> None: ...

    async with Fetcher() as fetcher:
        with pytest.raises(TypeError, match="sink must be a plain function, not a coroutine function"):
            fetcher.stream(origin.url("/bytes/10"), take)


async def test_a_callback_that_does_not_return_holds_the_transfer_back() -> None:
    size = 64_000_000
    calls = 0
    held: list[int] = []

    with ScriptedServer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)) as server:

        def take(chunk: memoryview) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                assert server.stuck.wait(30), "the transfer went on while nobody took its chunks"
                held.append(server.sent_bytes)
                held.append((live_counts() or {}).get("chunks", 0))

        async with Fetcher() as fetcher:
            info = await fetcher.stream(server.url(), take)
    # The kernel's socket buffers hold some megabytes as well; ours would be all of it.
    assert held[0] < size / 2
    assert held[1] <= MAX_HELD + 1  # and one that is being filled
    assert (info.size, server.sent_bytes > size) == (size, True)


async def test_a_cancelled_stream_calls_nobody_any_more(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        calls = 0
        arrived = asyncio.Event()

        def take(chunk: memoryview) -> None:
            nonlocal calls
            calls += 1
            arrived.set()

        operation = fetcher.stream(origin.url("/endless"), take)
        await arrived.wait()
        operation.cancel()
        seen = calls
        await abandoned(origin, 1)
        assert calls == seen
        assert operation.cancelled()


# ---- life ------------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_closes_the_fetcher_and_its_connections(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        await fetcher.get(origin.url("/"))
        assert not fetcher.closed
        assert "'done': 1" in repr(fetcher)
        assert (await asyncio.to_thread(origin.stats)).open_connections >= 1
    assert fetcher.closed
    assert repr(fetcher) == "<offloop.fetch.Fetcher closed>"
    fetcher.close()
    await sees(origin, lambda stats: stats.open_connections == 0)


async def test_a_closed_fetcher_takes_nothing_more(origin: Origin) -> None:
    fetcher = Fetcher()
    fetcher.close()
    for use in (fetcher.get, fetcher.hash, lambda url: fetcher.stream(url, print)):
        with pytest.raises(offloop.PoolClosedError, match="the fetcher is closed"):
            use(origin.url("/"))
    with pytest.raises(offloop.PoolClosedError):
        fetcher.stats()


async def test_closing_cancels_what_is_pending(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher(max_concurrent=3) as fetcher:
        url = origin.url("/hang")
        pending: list[offloop.Operation[Any]] = [
            fetcher.get(url),
            fetcher.hash(url),
            fetcher.stream(url, tmp_path / "file"),
            fetcher.stream(url, print),  # queued behind the others
        ]
        tasks = [operation.as_task() for operation in pending]
        await in_progress(origin, 3)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 4
    assert all(operation.cancelled() for operation in pending)
    assert (await abandoned(origin, 3)).requests == 3


async def test_an_exception_in_the_block_closes_the_fetcher(origin: Origin) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Fetcher() as fetcher:
            operation = fetcher.get(origin.url("/hang"))
            await in_progress(origin, 1)
            raise ZeroDivisionError
    await abandoned(origin, 1)
    with pytest.raises(asyncio.CancelledError):
        await operation


async def test_a_cancelled_transfer_closes_its_connection_at_once(origin: Origin) -> None:
    async with Fetcher(timeout=600) as fetcher:
        for path in ("/hang", "/endless", "/drip?bytes=100&seconds=600"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await fetcher.hash(origin.url(path))
        await abandoned(origin, 3)
        await until(lambda: fetcher.stats()["stopped"] == 3)
        assert fetcher.stats()["running"] == 0


async def test_dropping_the_last_reference_cancels_the_transfer(origin: Origin) -> None:
    async with Fetcher(timeout=600) as fetcher:
        operation = fetcher.get(origin.url("/hang"))
        await in_progress(origin, 1)
        del operation
        await abandoned(origin, 1)


async def test_a_transfer_that_is_cancelled_in_the_queue_is_never_sent(origin: Origin) -> None:
    async with Fetcher(max_concurrent=1) as fetcher:
        first = fetcher.get(origin.url("/hang"))
        await in_progress(origin, 1)
        second, third = fetcher.get(origin.url("/bytes/2")), fetcher.get(origin.url("/bytes/3"))
        assert second.cancel()
        first.cancel()
        assert (await third).size == 3
        for operation in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await operation
    assert set((await asyncio.to_thread(origin.stats)).targets) == {"/hang", "/bytes/3"}


async def test_a_failing_operation_in_a_task_group_cancels_its_pending_fetches(origin: Origin) -> None:
    async with Fetcher(timeout=600) as fetcher:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(fetcher.get(origin.url("/hang")))
                group.create_task(fetcher.hash(origin.url("/endless"), max_body=1 << 60))
                await in_progress(origin, 4)
                group.create_task(fetcher.get(origin.url("/status/404")))
        assert [type(error) for error in caught.value.exceptions] == [offloop.HTTPStatusError]
        await abandoned(origin, 4)
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5


async def test_operations_of_a_fetcher_go_wherever_asyncio_takes_one(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        url = origin.url("/bytes/100")
        sizes = [response.size for response in await asyncio.gather(*(fetcher.get(url) for _ in range(20)))]
        assert sizes == [100] * 20
        done, _ = await asyncio.wait([fetcher.get(url).as_task() for _ in range(3)])
        assert [task.result().size for task in done] == [100] * 3
        assert {(await op).size for op in asyncio.as_completed([fetcher.get(url), fetcher.get(url)])} == {100}
        assert (await asyncio.wait_for(fetcher.get(url), 10)).size == 100
        assert (await asyncio.shield(fetcher.get(url))).size == 100


def test_several_loops_in_threads_share_a_fetcher(origin: Origin) -> None:
    found: dict[int, list[str]] = {}

    async def main(number: int) -> list[str]:
        urls = [origin.url(f"/bytes/{10_000 * n}?seed={number}") for n in range(20)]
        return [response.hexdigest for response in await asyncio.gather(*map(fetcher.hash, urls))]

    def run(number: int) -> None:
        found[number] = asyncio.run(main(number))

    fetcher = Fetcher(max_concurrent=8)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [body_sha256(10_000 * n, str(number)) for n in range(20)] for number in range(4)}
    assert fetcher.stats()["done"] == 80
    fetcher.close()
    assert origin.stats().max_concurrent <= 8


def test_a_fetcher_outlives_the_loop_in_which_it_was_made(origin: Origin) -> None:
    fetcher = Fetcher()
    for _ in range(3):
        assert asyncio.run(_size(fetcher, origin.url("/bytes/100"))) == 100
    fetcher.close()


async def _size(fetcher: Fetcher, url: str) -> int:
    return (await fetcher.get(url)).size


# ---- limits ----------------------------------------------------------------------------------------------------------


async def test_max_concurrent_holds(origin: Origin) -> None:
    async with Fetcher(max_concurrent=3) as fetcher:
        hanging = [fetcher.get(origin.url("/hang")) for _ in range(8)]
        await in_progress(origin, 3)
        assert (fetcher.stats()["running"], fetcher.stats()["queued"]) == (3, 5)
        del hanging
        await abandoned(origin, 3)
        await asyncio.gather(*(fetcher.get(origin.url("/slow?seconds=0.01")) for _ in range(20)))
    stats = await asyncio.to_thread(origin.stats)
    assert (stats.max_concurrent, stats.paths["/hang"], stats.paths["/slow"]) == (3, 3, 20)


async def test_per_host_holds_for_each_host(origin: Origin) -> None:
    names = ["one.test", "two.test"]
    async with Fetcher(per_host=2, resolve=[f"{name}:127.0.0.1" for name in names]) as fetcher:
        urls = [f"http://{name}:{origin.port}/hang" for name in names for _ in range(5)]
        hanging = [fetcher.get(url) for url in urls]
        await in_progress(origin, 4)
        assert (fetcher.stats()["running"], fetcher.stats()["queued"]) == (4, 6)
        # A host that has room is not kept waiting by those that have not.
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
        del hanging
        await abandoned(origin, 4)
    assert (await asyncio.to_thread(origin.stats)).requests == 5


async def test_max_body_is_the_largest_body_that_passes(origin: Origin, tmp_path: Path) -> None:
    for route in ("bytes", "chunked", "gzip"):
        url = origin.url(f"/{route}/5000")
        async with Fetcher(max_body=5000) as fetcher:
            assert (await fetcher.get(url)).size == 5000
            with pytest.raises(offloop.BodyTooLargeError, match="larger than max_body, 4999 bytes"):
                await fetcher.get(url, max_body=4999)
            with pytest.raises(offloop.BodyTooLargeError):
                await fetcher.hash(url, max_body=4999)
            with pytest.raises(offloop.BodyTooLargeError):
                await fetcher.stream(url, tmp_path / "file", max_body=4999)
            assert (await fetcher.hash(url, max_body=10_000)).size == 5000
        assert os.listdir(tmp_path) == []


async def test_fail_on_status_false_gives_the_answer_itself(origin: Origin) -> None:
    async with Fetcher(fail_on_status=False) as fetcher:
        response = await fetcher.get(origin.url("/status/404"))
        assert (response.status, response.text()) == (404, "status 404\n")
        assert (await fetcher.hash(origin.url("/status/500"))).hexdigest == hashlib.sha256(b"status 500\n").hexdigest()


@pytest.mark.loops("asyncio")
async def test_low_speed_is_a_timeout(origin: Origin) -> None:
    async with Fetcher(low_speed_bytes=1000, low_speed_time=1, timeout=60) as fetcher:
        url = origin.url("/drip?bytes=100&seconds=50")
        with pytest.raises(offloop.FetchTimeoutError) as caught:
            await fetcher.get(url)
    assert str(caught.value) == f"Fetch timed out for {url} after 1s below 1000 bytes per second"


# ---- addresses and proxies -------------------------------------------------------------------------------------------


async def test_public_only_refuses_this_machine_on_every_hop(origin: Origin) -> None:
    cases = [origin.url("/"), f"http://localhost:{origin.port}/", f"http://[::1]:{origin.port}/", "http://10.0.0.1/"]
    async with Fetcher(addresses="public_only") as fetcher:
        for url in cases:
            with pytest.raises(offloop.BlockedAddressError) as caught:
                await fetcher.get(url)
            assert (caught.value.url, caught.value.retryable) == (url, False)
    assert (await asyncio.to_thread(origin.stats)).connections == 0
    async with Fetcher(addresses="public_only", allow_cidrs=["127.0.0.1/32"]) as fetcher:
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
        with pytest.raises(offloop.BlockedAddressError, match=r"127\.0\.0\.2"):
            await fetcher.get(origin.url(f"/redirect-to?url=http://127.0.0.2:{origin.port}/"))


async def test_denied_networks_are_refused_and_names_are_overridden(origin: Origin) -> None:
    async with Fetcher(deny_cidrs=["127.0.0.0/8"]) as fetcher:
        with pytest.raises(offloop.BlockedAddressError):
            await fetcher.get(origin.url("/"))
    async with Fetcher(resolve=["some.test:127.0.0.1"]) as fetcher:
        response = await fetcher.get(f"http://some.test:{origin.port}/headers")
    assert ["host", f"some.test:{origin.port}"] in json.loads(response.read())["headers"]


async def test_a_proxy_of_the_environment_is_used_but_never_for_loopback(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", origin.url("/").rstrip("/"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    override = ["direct.test:127.0.0.1"]
    async with Fetcher(fail_on_status=False) as fetcher:
        await fetcher.get("http://far-away.test/page")
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
    monkeypatch.setenv("no_proxy", "direct.test")
    async with Fetcher(resolve=override) as fetcher:
        assert (await fetcher.get(f"http://direct.test:{origin.port}/bytes/6")).size == 6
    monkeypatch.delenv("no_proxy")
    async with Fetcher(resolve=override, env_proxy=False) as fetcher:
        assert (await fetcher.get(f"http://direct.test:{origin.port}/bytes/7")).size == 7
    targets = (await asyncio.to_thread(origin.stats)).targets
    assert set(targets) == {"http://far-away.test/page", "/bytes/5", "/bytes/6", "/bytes/7"}


# ---- options ---------------------------------------------------------------------------------------------------------

WRONG_OPTIONS: list[tuple[str, Any, type[Exception], str]] = [
    ("io_threads", 0, ValueError, "must be greater than 0, got 0"),
    ("io_threads", 65, ValueError, "must be between 1 and 64, got 65"),
    ("io_threads", 1.0, TypeError, "must be an int, not float"),
    ("max_concurrent", 0, ValueError, "must be greater than 0, got 0"),
    ("max_concurrent", -1, ValueError, "must be greater than 0, got -1"),
    ("max_concurrent", 65537, ValueError, "must be between 1 and 65536, got 65537"),
    ("max_concurrent", True, TypeError, "must be an int, not bool"),
    ("per_host", -1, ValueError, "got -1"),
    ("per_host", 1 << 80, ValueError, "must be between"),
    ("connect_timeout", 0, ValueError, "must be greater than 0 seconds, got 0"),
    ("timeout", -1.5, ValueError, "must be greater than 0 seconds, got -1.5"),
    ("timeout", math.nan, ValueError, "must be greater than 0 seconds, got nan"),
    ("timeout", 1e300, ValueError, "must be at most 2592000 seconds"),
    ("timeout", "5", TypeError, "must be a number of seconds, not str"),
    ("timeout", None, TypeError, "must be a number of seconds, not NoneType"),
    ("low_speed_bytes", -1, ValueError, "got -1"),
    ("low_speed_time", 1 << 40, ValueError, "got 1099511627776"),
    ("max_redirects", 101, ValueError, "must be between 0 and 100, got 101"),
    ("max_body", -1, ValueError, "got -1"),
    ("max_body", 1 << 63, ValueError, "got 9223372036854775808"),
    ("fail_on_status", 1, TypeError, "must be a bool, not int"),
    ("verify_tls", "no", TypeError, "must be a bool, not str"),
    ("decompress", None, TypeError, "must be a bool, not NoneType"),
    ("http2", 0, TypeError, "must be a bool, not int"),
    ("env_proxy", "", TypeError, "must be a bool, not str"),
    ("ca_file", 5, TypeError, "must be a path, not int"),
    ("ca_file", "a\0b", ValueError, "contains a null character"),
    ("user_agent", 5, TypeError, "must be a str, not int"),
    ("user_agent", "a\r\nb", ValueError, "must be one line"),
    ("headers", 5, TypeError, "must be a mapping or pairs of str, not int"),
    ("headers", "ab", TypeError, "must be a mapping or pairs of str, got 'a'"),
    ("headers", [("a", 5)], TypeError, "must be a mapping or pairs of str, got"),
    ("addresses", "some", ValueError, "must be 'allow_all' or 'public_only', got 'some'"),
    ("allow_cidrs", "10.0.0.0/8", TypeError, "must be an iterable of str, not str"),
    ("allow_cidrs", ["10.0.0.0/99"], ValueError, "got '10.0.0.0/99'"),
    ("deny_cidrs", [5], TypeError, "must be an iterable of str, got 5 in it"),
    ("deny_cidrs", ["nope"], ValueError, "got 'nope'"),
    ("resolve", 5, TypeError, "must be an iterable of str, not int"),
    ("resolve", ["host"], ValueError, "got 'host'"),
]


@pytest.mark.parametrize(("name", "value", "kind", "words"), WRONG_OPTIONS)
def test_a_wrong_option_is_named(name: str, value: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{name}.*{re.escape(words)}"):
        Fetcher(**{name: value})


def test_an_unknown_option_is_a_type_error_with_its_name() -> None:
    with pytest.raises(TypeError, match="max_conns"):
        Fetcher(max_conns=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Fetcher(5)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "header name is not valid: 'a b'"),
        ("", "header name is not valid: ''"),
        ("Content-Length", "header Content-Length is set by the fetcher itself"),
    ],
)
def test_a_header_that_cannot_be_sent_is_a_value_error(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fetcher(headers={name: "x"})


def test_a_header_cannot_smuggle_another_one() -> None:
    for value in ("a\r\nEvil: 1", "a\nEvil: 1", "a\0"):
        with pytest.raises(ValueError, match="value of header X contains a control character"):
            Fetcher(headers=[("X", value)])


def test_a_missing_ca_file_is_a_file_not_found_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Fetcher(ca_file=tmp_path / "none.pem")
    assert caught.value.filename == str(tmp_path / "none.pem")


WRONG_REQUESTS: list[tuple[str, Any, type[Exception], str]] = [
    ("timeout", 0, ValueError, "timeout must be greater than 0 seconds, got 0"),
    ("timeout", "1", TypeError, "timeout must be a number of seconds, not str"),
    ("timeout", True, TypeError, "timeout must be a number of seconds, not bool"),
    ("timeout", 1e18, ValueError, "timeout must be at most 2592000 seconds"),
    ("max_body", -1, ValueError, "max_body must be between"),
    ("max_body", 1.5, TypeError, "max_body must be an int, not float"),
    ("headers", {"X": "a\r\nb"}, ValueError, "value of header X contains a control character"),
    ("headers", [1], TypeError, "headers must be a mapping or pairs of str, got 1"),
]


@pytest.mark.parametrize(("name", "value", "kind", "words"), WRONG_REQUESTS)
@pytest.mark.loops("asyncio")
async def test_a_wrong_argument_of_a_request_is_named_and_nothing_is_sent(
    origin: Origin, name: str, value: Any, kind: type[Exception], words: str
) -> None:
    async with Fetcher() as fetcher:
        calls: list[Callable[..., Any]] = [fetcher.get, fetcher.hash, lambda url, **k: fetcher.stream(url, print, **k)]
        for call in calls:
            with pytest.raises(kind, match=re.escape(words)):
                await call(origin.url("/"), **{name: value})
        assert fetcher.stats()["running"] == fetcher.stats()["failed"] == 0
    assert (await asyncio.to_thread(origin.stats)).requests == 0


# ---- fetch_url -------------------------------------------------------------------------------------------------------


async def test_fetch_url_gives_the_bytes(origin: Origin) -> None:
    body = await fetch_url(origin.url(f"/gzip/{LARGE}"))
    assert type(body) is bytes
    assert body == body_bytes(LARGE)
    assert await offloop.fetch_url(origin.url("/redirect/2"), timeout=5) == await fetch_url(origin.url("/"))


async def test_fetch_url_keeps_connections_between_calls(origin: Origin) -> None:
    for _ in range(10):
        await fetch_url(origin.url("/bytes/10"))
    assert (await asyncio.to_thread(origin.stats)).connections <= 1


def test_fetch_url_can_be_run_by_itself(origin: Origin) -> None:
    assert asyncio.run(fetch_url(origin.url("/bytes/10"))) == body_bytes(10)  # type: ignore[arg-type]


async def test_fetch_url_takes_no_timeout_for_none(origin: Origin) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds, not NoneType"):
        fetch_url(origin.url("/"), timeout=None)  # type: ignore[arg-type]


async def test_fetch_url_says_what_failed(origin: Origin) -> None:
    url = origin.url("/status/404")
    with pytest.raises(offloop.HTTPStatusError) as caught:
        await fetch_url(url)
    assert str(caught.value) == f"Fetch failed for {url}: HTTP status 404"
    assert (caught.value.status, caught.value.url, caught.value.retryable) == (404, url, False)
    url = origin.url("/short")
    with pytest.raises(offloop.FetchError) as failed:
        await fetch_url(url)
    assert str(failed.value).startswith(f"Fetch failed for {url}: ")


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 425, 429, 500, 501, 502, 503, 504, 522, 524, 599])
@pytest.mark.loops("asyncio")
async def test_a_status_of_400_or_above_is_an_http_status_error(origin: Origin, status: int) -> None:
    with pytest.raises(offloop.HTTPStatusError) as caught:
        await fetch_url(origin.url(f"/status/{status}"))
    assert caught.value.status == status
    assert caught.value.retryable == (status in {408, 425, 429, 500, 502, 503, 504, 522, 524})


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299, 300, 304, 399])
@pytest.mark.loops("asyncio")
async def test_a_status_below_400_is_an_answer(origin: Origin, status: int) -> None:
    body = await fetch_url(origin.url(f"/status/{status}"))
    assert body == (b"" if status in (204, 304) else b"status %d\n" % status)


@pytest.mark.parametrize(("timeout", "words"), [(0.25, "0.25s"), (1, "1s"), (0.3, "0.3s")])
@pytest.mark.loops("asyncio")
async def test_fetch_url_says_how_long_it_waited(origin: Origin, timeout: float, words: str) -> None:
    url = origin.url("/hang")
    with pytest.raises(offloop.FetchTimeoutError) as caught:
        await fetch_url(url, timeout=timeout)
    assert str(caught.value) == f"Fetch timed out for {url} after {words}"
    assert (caught.value.url, caught.value.retryable) == (url, True)
    assert isinstance(caught.value, TimeoutError)
    await abandoned(origin, 1)


@pytest.mark.loops("asyncio")
async def test_a_timeout_counts_all_hops_and_not_the_queue(origin: Origin) -> None:
    async with Fetcher(max_concurrent=1, timeout=1.0) as fetcher:
        waits = [fetcher.get(origin.url("/slow?seconds=0.4")) for _ in range(4)]  # the last one queues for 1.2 s
        assert [response.size for response in await asyncio.gather(*waits)] == [16] * 4
        with pytest.raises(offloop.FetchTimeoutError):
            await fetcher.get(origin.url("/redirect-to?url=/slow%3Fseconds=0.5"), timeout=0.3)


async def test_a_password_in_a_url_is_not_repeated_in_the_error(origin: Origin) -> None:
    url = f"http://user:secret@127.0.0.1:{origin.port}/status/404"
    with pytest.raises(offloop.HTTPStatusError) as caught:
        await fetch_url(url)
    assert "secret" not in str(caught.value) + repr(caught.value) + str(caught.value.url)
    assert str(caught.value) == f"Fetch failed for http://user:***@127.0.0.1:{origin.port}/status/404: HTTP status 404"
