"""Whose an operation is: the wrong loop, the wrong thread, no loop, and nobody's any more."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import pytest
from bridge_helpers import DATA, DIGEST, NOTHING, Gate, until

import offloop
from offloop import Operation

pytestmark = pytest.mark.every_loop


def start() -> Operation[str]:
    return offloop.sha256(DATA)


# ---- the wrong loop, the wrong thread, no loop -----------------------------------------------------------------------


async def test_awaiting_on_another_loop_is_a_runtime_error() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def elsewhere() -> str:
            return await operation

        with pytest.raises(RuntimeError, match="different loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())
        assert not operation.done()
        gate.open()
        assert await operation == NOTHING


async def test_an_unbound_operation_belongs_to_the_loop_that_awaits_it_first() -> None:
    unbound = await asyncio.to_thread(offloop.sha256, DATA)
    assert "unbound" in repr(unbound)
    assert not asyncio.isfuture(unbound)
    with pytest.raises(RuntimeError):
        unbound.get_loop()
    assert await unbound == DIGEST
    assert unbound.get_loop() is asyncio.get_running_loop()


def test_an_unbound_operation_cannot_be_stepped_without_a_loop() -> None:
    operation = offloop.sha256(DATA)
    with pytest.raises(RuntimeError, match="no running event loop"):
        operation.send(None)
    operation.cancel()
    assert operation.cancelled()


def test_an_unbound_operation_can_be_cancelled_and_never_starts() -> None:
    buffer = bytearray(DATA)
    operation = offloop.sha256(buffer)
    assert operation.cancel() is True
    buffer.append(0)
    with pytest.raises(asyncio.CancelledError):
        operation.result()


async def test_one_that_was_cancelled_before_it_was_bound_is_cancelled_wherever_it_is_given() -> None:
    async def cancelled() -> offloop.Operation[str]:
        operation = await asyncio.to_thread(offloop.sha256, DATA)
        operation.cancel()
        return operation

    (result,) = await asyncio.gather(await cancelled(), return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError)
    for wait in (
        asyncio.gather,
        asyncio.shield,
        lambda operation: asyncio.wait_for(operation, 30),
        asyncio.create_task,
    ):
        with pytest.raises(asyncio.CancelledError):
            await wait(await cancelled())  # type: ignore[operator]
    called: list[object] = []
    operation = await cancelled()
    operation.add_done_callback(called.append)
    await until(lambda: called == [operation])


def test_a_callback_for_one_that_was_cancelled_without_a_loop_needs_a_loop() -> None:
    operation = offloop.sha256(DATA)
    operation.cancel()
    with pytest.raises(RuntimeError, match="no running event loop"):
        operation.add_done_callback(print)


def test_an_unbound_operation_that_is_never_awaited_warns() -> None:
    with pytest.warns(RuntimeWarning, match="'sha256' was never awaited"):
        offloop.sha256(DATA)


async def test_gather_takes_unbound_operations() -> None:
    unbound = [await asyncio.to_thread(offloop.sha256, DATA) for _ in range(3)]
    assert await asyncio.gather(*unbound) == [DIGEST] * 3
    with_wait_for = await asyncio.to_thread(offloop.sha256, DATA)
    assert await asyncio.wait_for(with_wait_for, 30) == DIGEST
    shielded = await asyncio.to_thread(offloop.sha256, DATA)
    assert await asyncio.shield(shielded) == DIGEST


# ---- dropped ---------------------------------------------------------------------------------------------------------


async def test_dropping_a_bound_operation_cancels_it_silently() -> None:
    buffer = bytearray(DATA)
    before = sys.getrefcount(buffer)
    operation = offloop.sha256(buffer)
    reference = weakref.ref(operation)
    del operation
    assert reference() is None
    await until(lambda: sys.getrefcount(buffer) == before, "the buffer to be given back")
    buffer.append(0)


async def test_dropping_a_running_operation_lets_it_end_in_peace() -> None:
    with Gate() as gate:
        before = offloop.stats()["in_flight"]
        operation = gate.operation()
        assert offloop.stats()["in_flight"] == before + 1
        del operation
        gate.open()
        await until(lambda: offloop.stats()["in_flight"] == before, "the slot to be given back")


async def test_an_operation_that_somebody_waits_for_is_kept_alive() -> None:
    with Gate() as gate:
        seen: list[str] = []
        gate.operation().add_done_callback(lambda operation: seen.append(operation.result()))
        gc.collect()
        gate.open()
        await until(lambda: seen == [NOTHING])


async def test_a_cycle_through_the_result_is_collected() -> None:
    class Node:
        pass

    node = Node()
    operation = start()
    node.operation = operation  # type: ignore[attr-defined]
    operation.add_done_callback(lambda _, node=node: None)  # type: ignore[misc]
    await operation
    reference = weakref.ref(node)
    del node, operation
    gc.collect()
    await until(lambda: reference() is None)
