"""Any C-contiguous buffer is taken without a copy, held exactly as long as it is used, and given back."""

from __future__ import annotations

import array
import asyncio
import ctypes
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, Gate, resizable, settings, sha256, until, zeros

import offloop
from offloop import hashing

WRONG = ["text", [1, 2, 3], None, 5, 1.5, {"a": 1}, object(), range(3)]


def of_memory_map(data: bytes) -> mmap.mmap:
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    return mapped


class Subclass(bytes):
    pass


KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "subclass of bytes": Subclass,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "memoryview of a part": lambda data: memoryview(b"xx" + data + b"yy")[2:-2],
    "memoryview with a shape": lambda data: memoryview(data).cast("B", [len(data) // 16, 16]),
    "mmap": of_memory_map,
    "array": lambda data: array.array("I", data),
    "ctypes": lambda data: (ctypes.c_ubyte * len(data)).from_buffer_copy(data),
}


# ---- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16, 1024, 204_800])
async def test_every_kind_of_buffer_is_taken(kind: str, size: int) -> None:
    data = DATA[:size]
    buffer = KINDS[kind](data)
    expected = sha256(data)
    assert await offloop.sha256(buffer) == expected
    assert await hashing.hexdigest(buffer, "sha256") == expected
    assert len(await hashing.digest(buffer, "md5")) == 16
    assert await offloop.sha256_many([buffer, b""]) == [expected, sha256(b"")]
    assert offloop.batch_hash([buffer], 1) == [expected]
    assert offloop.compute_sha256(buffer) == expected


@pytest.mark.parametrize("kind", KINDS)
async def test_reference_counts_are_unchanged_afterwards(kind: str) -> None:
    buffer = KINDS[kind](DATA)
    before = sys.getrefcount(buffer)
    await offloop.sha256(buffer)
    await hashing.digest(buffer, "md5")
    await offloop.sha256_many([buffer] * 5)
    offloop.batch_hash([buffer] * 5, 2)
    offloop.compute_sha256(buffer)
    cancelled = [offloop.sha256(buffer) for _ in range(20)]
    for operation in cancelled:
        operation.cancel()
    del cancelled, operation
    await until(lambda: sys.getrefcount(buffer) == before, "the references to be given back")


async def test_numpy_arrays_are_taken() -> None:
    numpy = pytest.importorskip("numpy")
    flat = numpy.frombuffer(DATA, dtype=numpy.uint8)
    assert await offloop.sha256(flat) == DIGEST
    square = numpy.arange(90_000, dtype=numpy.float32).reshape(300, 300)
    assert await offloop.sha256(square) == sha256(square.tobytes())
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        offloop.sha256(square[::2, ::2])
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        offloop.sha256(square.T)
    own = numpy.zeros(300_000, dtype=numpy.uint8)
    with settings(threads=1), Gate():
        operation = hashing.digest(own, "sha3_512")
        with pytest.raises((ValueError, BufferError)):
            own.resize(10)  # somebody refers to it
        await operation
    del operation


async def test_an_empty_buffer_is_taken() -> None:
    for empty in (b"", bytearray(), memoryview(b""), array.array("I"), memoryview(b"ab")[2:]):
        assert await offloop.sha256(empty) == sha256(b"")
        assert await hashing.digest(empty, "sha512") == bytes.fromhex(await hashing.hexdigest(b"", "sha512"))
        assert await offloop.sha256_many([empty]) == [sha256(b"")]


async def test_a_mapped_file_is_taken_and_cannot_be_closed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA * 40)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        operation = hashing.digest(mapped, "sha3_512")
        with pytest.raises(BufferError):
            mapped.close()
        await operation
        assert await offloop.sha256(mapped) == sha256(DATA * 40)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
async def test_what_is_not_bytes_like_is_a_type_error_that_names_bytes(wrong: Any) -> None:
    before = offloop.stats()
    for function in (offloop.sha256, hashing.digest, hashing.hexdigest, offloop.compute_sha256):
        with pytest.raises(TypeError, match=f"bytes.*'{type(wrong).__name__}'"):
            function(wrong)
    with pytest.raises(TypeError, match=rf"payloads\[2\].*bytes.*'{type(wrong).__name__}'"):
        offloop.sha256_many([b"a", b"b", wrong])
    with pytest.raises(TypeError, match=rf"payloads\[1\].*bytes.*'{type(wrong).__name__}'"):
        offloop.batch_hash([b"a", wrong], 2)
    after = offloop.stats()
    assert (after["in_flight"], after["parked"]) == (before["in_flight"], before["parked"])


async def test_a_view_that_is_not_contiguous_is_refused_at_once() -> None:
    view = memoryview(DATA)[::2]
    for function in (offloop.sha256, hashing.digest, hashing.hexdigest, offloop.compute_sha256):
        with pytest.raises(BufferError, match="contiguous"):
            function(view)
    with pytest.raises(BufferError, match=r"payloads\[1\].*contiguous"):
        offloop.sha256_many([b"", view])
    with pytest.raises(BufferError, match=r"payloads\[1\].*contiguous"):
        offloop.batch_hash([b"", view], 1)


async def test_a_released_view_is_refused_at_once() -> None:
    view = memoryview(DATA)
    view.release()
    for function in (offloop.sha256, hashing.digest, offloop.compute_sha256):
        with pytest.raises(ValueError, match="released"):
            function(view)
    with pytest.raises(ValueError, match=r"payloads\[0\].*released"):
        offloop.sha256_many([view])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 came with 3.12")
async def test_an_exporter_written_in_python_is_taken_and_its_errors_come_through() -> None:
    class Exporter:
        def __init__(self, data: bytes | None) -> None:
            self.data = data
            self.exports = 0

        def __buffer__(self, flags: int) -> memoryview:
            if self.data is None:
                raise ZeroDivisionError("no buffer today")
            self.exports += 1
            return memoryview(self.data)

        def __release_buffer__(self, view: memoryview) -> None:
            self.exports -= 1

    exporter = Exporter(DATA)
    assert await offloop.sha256(exporter) == DIGEST
    await until(lambda: exporter.exports == 0)
    with pytest.raises(ZeroDivisionError, match="no buffer today"):
        offloop.sha256(Exporter(None))
    with pytest.raises(ZeroDivisionError, match="no buffer today"):
        offloop.sha256_many([DATA, Exporter(None)])


# ---- how long it is held ---------------------------------------------------------------------------------------------


async def test_a_bytearray_in_use_cannot_be_resized_and_can_afterwards() -> None:
    buffer = bytearray(DATA)
    operation = offloop.sha256(buffer)
    with pytest.raises(BufferError):
        buffer.append(0)
    assert await operation == DIGEST
    buffer.append(0)


async def test_it_is_given_back_before_anybody_is_woken() -> None:
    buffer = bytearray(DATA)
    seen: list[bool] = []
    operation = offloop.sha256(buffer)
    operation.add_done_callback(lambda _: seen.append(resizable(buffer)))
    await operation
    await until(lambda: seen == [True])


async def test_a_cancelled_queued_operation_never_runs_and_gives_its_buffer_back_at_once() -> None:
    plug = zeros(1 << 30)
    with settings(threads=1, max_pending=100_000):
        # Hundreds of streams of a gigabyte each wait for their next quantum: what comes last waits long.
        plugs = [hashing.digest(plug, "sha3_512") for _ in range(300)]
        buffer = bytearray(DATA)
        last = hashing.digest(buffer, "sha3_512")
        assert not resizable(buffer)
        stopped = offloop.stats()["bytes"]
        assert last.cancel() is True
        assert resizable(buffer)
        assert last.cancelled()
        assert stopped <= offloop.stats()["bytes"]
        for operation in plugs:
            operation.cancel()
        await until(lambda: offloop.stats()["in_flight"] == 0 and offloop.stats()["running"] == 0)
    del plugs, operation
    plug.close()  # BufferError, if one of them still held it


async def test_a_cancelled_running_operation_gives_its_buffer_back_when_it_really_ends() -> None:
    buffer = bytearray(32 * 1024 * 1024)
    running = offloop.stats()["running"]
    operation = hashing.digest(buffer, "sha3_512")
    waiter = asyncio.create_task(operation)
    await until(lambda: offloop.stats()["running"] > running, "a worker to take it")
    assert operation.cancel() is True
    assert not resizable(buffer)  # a worker still reads it, whatever the waiters know
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await until(lambda: resizable(buffer))


async def test_wait_for_timeouts_free_their_slots() -> None:
    before = offloop.stats()["in_flight"]
    plug = zeros(1 << 28)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hashing.digest(plug, "sha3_512"), 0)

    await asyncio.gather(*(impatient() for _ in range(100)))
    await until(lambda: offloop.stats()["in_flight"] == before)
    plug.close()


async def test_changing_the_content_meanwhile_is_the_callers_race_and_harms_nothing() -> None:
    buffer = bytearray(1_000_000)
    operation = offloop.sha256(buffer)
    buffer[500_000] = 1
    assert len(await operation) == 64


@pytest.mark.timeout(300)
@pytest.mark.loops("asyncio")
async def test_more_than_four_gib_are_hashed_right() -> None:
    buffer = zeros((1 << 32) + 12_345)  # of address space: every page is the same one
    try:
        digest, expected = await asyncio.gather(offloop.sha256(buffer), asyncio.to_thread(sha256, buffer))
        assert digest == expected
    finally:
        await until(lambda: offloop.stats()["in_flight"] == 0)
        buffer.close()


async def test_a_view_cannot_be_released_while_it_is_in_use_and_can_afterwards() -> None:
    view = memoryview(bytearray(DATA))
    operation = offloop.sha256(view)
    with pytest.raises(BufferError):
        view.release()
    assert await operation == DIGEST
    view.release()


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_operations_give_every_kind_of_buffer_back(kind: str) -> None:
    buffer = KINDS[kind](DATA)
    before = sys.getrefcount(buffer)
    operations = [hashing.digest(buffer, "sha3_512") for _ in range(8)]
    for operation in operations:
        operation.cancel()
    del operations, operation
    await until(lambda: sys.getrefcount(buffer) == before, "the references to be given back")
