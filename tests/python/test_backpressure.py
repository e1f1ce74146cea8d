"""When max_pending operations are in flight: wait, raise, or run inline. The loop is never blocked, nothing is lost."""

from __future__ import annotations

import asyncio
import sys

import pytest
from bridge_helpers import DATA, DIGEST, NOTHING, Gate, assert_clean, resizable, run_program, settings, sha256, until

import offloop
from offloop import hashing

# ---- wait ------------------------------------------------------------------------------------------------------------


async def test_wait_parks_what_exceeds_the_limit_until_a_slot_frees() -> None:
    with settings(max_pending=2), Gate() as first, Gate() as second:
        gates = [first.operation(), second.operation()]
        parked = offloop.sha256(DATA)
        await asyncio.sleep(0.01)
        assert not parked.done()
        assert offloop.stats()["parked"] == 1
        first.open()
        assert await parked == DIGEST
        second.open()
        assert await asyncio.gather(*gates) == [NOTHING] * 2


async def test_a_parked_operation_does_not_export_its_buffer() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        buffer = bytearray(DATA)
        parked = offloop.sha256(buffer)
        assert resizable(buffer)
        buffer[:] = b"changed while it waits"
        gate.open()
        assert await parked == sha256(b"changed while it waits")
        await gated


async def test_parked_operations_start_in_the_order_of_their_submission() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        order: list[int] = []
        parked = [offloop.sha256(DATA) for _ in range(20)]
        for n, operation in enumerate(parked):
            operation.add_done_callback(lambda _, n=n: order.append(n))  # type: ignore[misc]
        gate.open()
        await asyncio.gather(gated, *parked)
        await until(lambda: len(order) == 20)
        assert order == list(range(20))


async def test_a_parked_operation_that_is_cancelled_never_starts() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        buffer = bytearray(DATA)
        parked = [offloop.sha256(buffer) for _ in range(3)]
        waiter = parked[1].as_task()
        await asyncio.sleep(0)
        bytes_before = offloop.stats()["bytes"]
        for operation in parked:
            assert operation.cancel() is True
        with pytest.raises(asyncio.CancelledError):
            await waiter
        gate.open()
        await gated
        await until(lambda: offloop.stats()["parked"] == 0)
        assert offloop.stats()["bytes"] < bytes_before + len(DATA)


async def test_a_parked_operation_that_is_dropped_lets_go_of_its_buffer() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        buffer = bytearray(DATA)
        before = sys.getrefcount(buffer)
        offloop.sha256(buffer)
        assert sys.getrefcount(buffer) == before
        gate.open()
        await gated


async def test_a_parked_operation_that_is_cancelled_lets_go_of_its_buffer_at_once() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        buffer = bytearray(DATA)
        before = sys.getrefcount(buffer)
        parked = offloop.sha256(buffer)
        many = offloop.sha256_many([buffer])
        parked.cancel()
        many.cancel()
        assert sys.getrefcount(buffer) == before
        gate.open()
        await gated


async def test_a_cancelled_holder_of_the_last_slot_makes_room() -> None:
    with settings(max_pending=1), Gate() as gate:
        holder = gate.operation()
        parked = offloop.sha256(DATA)
        holder.cancel()
        gate.open()
        assert await parked == DIGEST


async def test_a_buffer_that_cannot_be_taken_when_its_turn_comes_is_that_operations_error() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        view = memoryview(bytearray(DATA))
        parked = offloop.sha256(view)
        behind = offloop.sha256(DATA)
        view.release()
        gate.open()
        with pytest.raises(ValueError, match="released"):
            await parked
        assert await behind == DIGEST
        await gated


async def test_thousands_over_the_limit_all_end() -> None:
    with settings(max_pending=3):
        operations = [offloop.sha256(b"%05d" % n * 500) for n in range(3000)]
        results = await asyncio.gather(*operations)
    assert results == [sha256(b"%05d" % n * 500) for n in range(3000)]


async def test_files_and_batches_wait_for_a_slot_too() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        batch = offloop.sha256_many([DATA])
        file = hashing.file_hexdigest("/dev/null")
        other = hashing.hexdigest(DATA, "sha512")
        assert offloop.stats()["parked"] == 3
        gate.open()
        assert await batch == [DIGEST]
        assert await file == NOTHING
        assert len(await other) == 128
        await gated


def test_two_loops_at_the_limit_both_make_progress() -> None:
    assert_clean(run_program("pressure", "two_loops"))


def test_a_loop_is_not_starved_by_another_one_that_holds_all_slots() -> None:
    assert_clean(run_program("pressure", "held_by_another_loop"))


def test_unlimited_submitting_has_flat_memory() -> None:
    assert_clean(run_program("pressure", "flat", timeout=60))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("policy", "count"), [("wait", 1_000_000), ("raise", 300_000), ("inline", 300_000)])
def test_64_producers_submit_very_much_in_flat_memory(policy: str, count: int) -> None:
    assert_clean(run_program("million", policy, count, timeout=115))


# ---- raise -----------------------------------------------------------------------------------------------------------


async def test_raise_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    with settings(max_pending=1, when_full="raise"), Gate() as gate:
        gated = gate.operation()
        buffer = bytearray(DATA)
        before = sys.getrefcount(buffer)
        with pytest.raises(offloop.PoolSaturatedError, match="max_pending") as caught:
            offloop.sha256(buffer)
        assert caught.value.retryable
        assert sys.getrefcount(buffer) == before
        with pytest.raises(offloop.PoolSaturatedError):
            offloop.sha256_many([buffer])
        with pytest.raises(offloop.PoolSaturatedError):
            hashing.file_digest("/dev/null")
        assert sys.getrefcount(buffer) == before
        gate.open()
        await gated
        assert await offloop.sha256(buffer) == DIGEST


def test_raise_meets_an_unbound_operation_when_it_is_awaited() -> None:
    async def main() -> None:
        unbound = await asyncio.to_thread(offloop.sha256, DATA)
        with Gate() as gate:
            gated = gate.operation()
            with pytest.raises(offloop.PoolSaturatedError):
                await unbound
            gate.open()
            await gated

    with settings(max_pending=1, when_full="raise"):
        asyncio.run(main())


# ---- inline ----------------------------------------------------------------------------------------------------------


async def test_inline_runs_on_the_loop_and_is_done_at_once() -> None:
    with settings(max_pending=1, when_full="inline"), Gate() as gate:
        gated = gate.operation()
        buffer = bytearray(DATA)
        operation = offloop.sha256(buffer)
        assert operation.done()
        assert operation.result() == DIGEST
        assert resizable(buffer)
        assert offloop.stats()["parked"] == 0
        gate.open()
        await gated


@pytest.mark.parametrize("algorithm", ["sha512", "md5", "sha3_256", "blake2b"])
async def test_inline_holds_for_every_algorithm(algorithm: str) -> None:
    expected = await hashing.hexdigest(DATA, algorithm)
    with settings(max_pending=1, when_full="inline"), Gate() as gate:
        gated = gate.operation()
        operation = hashing.hexdigest(DATA, algorithm)
        assert operation.done()
        assert operation.result() == expected
        gate.open()
        await gated


async def test_inline_parks_what_cannot_run_on_the_loop() -> None:
    with settings(max_pending=1, when_full="inline"), Gate() as gate:
        gated = gate.operation()
        file = hashing.file_hexdigest("/dev/null")  # would block the loop in the disk
        assert not file.done()
        gate.open()
        assert await file == NOTHING
        await gated


async def test_inline_counts_in_the_stats() -> None:
    with settings(max_pending=1, when_full="inline"), Gate() as gate:
        gated = gate.operation()
        before = offloop.stats()["inlined"]
        await offloop.sha256(bytearray(DATA))
        assert offloop.stats()["inlined"] == before + 1
        gate.open()
        await gated
