"""Fetcher.stream: into a file, and past a function."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import until
from conftest import live_counts
from fetch_helpers import LARGE, ScriptedServer, abandoned, quiet

import offloop
from offloop.fetch import Fetcher
from offloop.testing import Origin, body_bytes

CHUNK_BYTES = 256 * 1024
MAX_HELD = 4


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


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
