"""offloop.Operation is cancelled, thrown into and closed as a future and a coroutine are."""

from __future__ import annotations

import asyncio

import pytest
from bridge_helpers import DATA, DIGEST, NOTHING, Gate, block_until, published, until

import offloop
from offloop import Operation, hashing

pytestmark = pytest.mark.every_loop

MISSING = "/nonexistent/offloop"


def start() -> Operation[str]:
    return offloop.sha256(DATA)


async def test_cancel_passes_its_message_on() -> None:
    with Gate() as gate:
        operation = gate.operation()
        assert operation.cancel("enough") is True
        assert operation.cancelled()
        assert operation.cancel() is False
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await operation
        with pytest.raises(asyncio.CancelledError, match="enough"):
            operation.exception()
        other = gate.operation()
        other.cancel(msg="by keyword")
        with pytest.raises(asyncio.CancelledError, match="by keyword"):
            other.result()


async def test_cancelling_a_task_cancels_what_it_awaits() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def wait() -> str:
            return await operation

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert operation.cancelled()


async def test_cancelling_one_waiter_cancels_all_as_with_a_future() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def wait() -> str:
            return await operation

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 3


async def test_a_task_may_refuse_to_be_cancelled_and_go_on() -> None:
    with Gate() as gate:

        async def stubborn() -> str:
            try:
                return await gate.operation()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
                return await start()

        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        assert await task == DIGEST


async def test_a_result_that_was_published_stands() -> None:
    (operation,) = published()
    assert operation.cancel() is False
    assert not operation.cancelled()
    assert await operation == DIGEST


async def test_a_task_cancelled_after_publication_is_cancelled_and_the_result_stands() -> None:
    async def wait(operation: Operation[str]) -> str:
        return await operation

    with Gate() as gate:
        operation = gate.operation()
        task = asyncio.create_task(wait(operation))
        await asyncio.sleep(0)
        gate.open()
        deliveries = sum(offloop.stats()["deliver_ns"])
        # The loop does not turn: the gate's end is published, not delivered.
        block_until(lambda: operation.cancel() is False or operation.cancelled())
        if not operation.cancelled():
            assert sum(offloop.stats()["deliver_ns"]) == deliveries
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_throwing_cancelled_error_into_a_lone_operation_cancels_it() -> None:
    with Gate() as gate:
        operation = gate.operation()
        with pytest.raises(asyncio.CancelledError):
            operation.throw(asyncio.CancelledError("thrown"))
        assert operation.cancelled()


async def test_throwing_another_error_leaves_it_alone() -> None:
    with Gate() as gate:
        operation = gate.operation()
        with pytest.raises(ZeroDivisionError, match="thrown"):
            operation.throw(ZeroDivisionError("thrown"))
        with pytest.raises(ZeroDivisionError, match="by class"):
            operation.throw(ZeroDivisionError, "by class", None)
        with pytest.raises(TypeError):
            operation.throw("no exception")
        assert not operation.done()
        gate.open()
        assert await operation == NOTHING


async def test_throwing_into_one_that_others_wait_for_leaves_it_alone() -> None:
    with Gate() as gate:
        operation = gate.operation()
        operation.add_done_callback(lambda _: None)
        with pytest.raises(asyncio.CancelledError):
            operation.throw(asyncio.CancelledError)
        assert not operation.done()
        gate.open()
        assert await operation == NOTHING


async def test_close_never_cancels() -> None:
    with Gate() as gate:
        operation = gate.operation()
        operation.close()
        assert not operation.done()
        gate.open()
        assert await operation == NOTHING


async def test_closing_the_coroutine_that_awaits_it_does_not_end_what_others_hold() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def wait() -> str:
            return await operation

        coroutine = wait()
        coroutine.send(None)
        coroutine.close()
        assert not operation.done()
        gate.open()
        assert await operation == NOTHING


async def test_a_failing_task_group_cancels_its_operations() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def wait() -> str:
            return await operation

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(wait())
                group.create_task(hashing.file_digest(MISSING))
        assert operation.cancelled()
    assert [type(error) for error in caught.value.exceptions] == [FileNotFoundError]


async def test_n_failures_in_a_task_group_are_n_exceptions() -> None:
    async def waits(operation: Operation[bytes]) -> bytes:
        await asyncio.sleep(0)  # 3.12's group hears at once of an eager task that fails while it is made
        return await operation

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            # All have failed before the group hears of the first.
            operations = [hashing.file_digest(f"{MISSING}{n}") for n in range(5)]
            for operation in operations:
                operation.add_done_callback(lambda _: None)
            await until(lambda: all(operation.done() for operation in operations))
            for operation in operations:
                group.create_task(waits(operation))
    errors = caught.value.exceptions
    assert len({id(error) for error in errors}) == 5
    assert {error.filename for error in errors if isinstance(error, OSError)} == {f"{MISSING}{n}" for n in range(5)}
