"""offloop.Operation as a value: everything that asyncio does with a future or a coroutine can be done with it."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import io
import os
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, NOTHING, Gate, block_until, published, settings, until

import offloop
from offloop import Operation, hashing

pytestmark = pytest.mark.every_loop

MISSING = "/nonexistent/offloop"


def start() -> Operation[str]:
    return offloop.sha256(DATA)


# ---- what it is ------------------------------------------------------------------------------------------------------


async def test_functions_return_an_operation_and_not_a_coroutine_function() -> None:
    for function in (offloop.sha256, hashing.digest, hashing.hexdigest, hashing.file_digest, offloop.sha256_many):
        assert not inspect.iscoroutinefunction(function)
    operation = start()
    assert type(operation) is Operation
    assert isinstance(operation, collections.abc.Coroutine)
    assert isinstance(operation, collections.abc.Awaitable)
    assert inspect.isawaitable(operation)
    assert asyncio.isfuture(operation)
    assert asyncio.iscoroutine(operation)
    assert await operation == DIGEST


def test_operation_is_generic_and_cannot_be_made_by_hand() -> None:
    assert isinstance(Operation[str], types.GenericAlias)
    with pytest.raises(TypeError):
        Operation()
    with pytest.raises(TypeError):
        setattr(Operation, "anything", 1)  # noqa: B010


async def test_it_can_be_hashed_weakly_referenced_and_shown() -> None:
    operation = start()
    reference = weakref.ref(operation)
    assert operation in {operation}
    assert "sha256" in repr(operation)
    assert "pending" in repr(operation) or "finished" in repr(operation)
    await operation
    assert "finished" in repr(operation)
    assert (getattr(operation, "__qualname__", None), getattr(operation, "__name__", None)) == ("sha256", "sha256")
    assert operation.get_loop() is asyncio.get_running_loop()
    await asyncio.sleep(0)  # out of the drain, which holds what it delivers
    del operation
    assert reference() is None


async def test_before_the_end_result_and_exception_raise_invalid_state() -> None:
    with Gate() as gate:
        operation = gate.operation()
        assert not operation.done()
        assert not operation.cancelled()
        with pytest.raises(asyncio.InvalidStateError):
            operation.result()
        with pytest.raises(asyncio.InvalidStateError):
            operation.exception()
        gate.open()
        assert await operation == NOTHING
    assert operation.done()
    assert operation.result() == NOTHING
    assert operation.exception() is None


# ---- where asyncio takes an awaitable --------------------------------------------------------------------------------


async def test_await_gives_the_value() -> None:
    assert await start() == DIGEST


async def test_awaited_twice_gives_the_value_twice() -> None:
    operation = start()
    assert await operation == DIGEST
    assert await operation == DIGEST


async def test_gather_keeps_the_order() -> None:
    payloads = [DATA + bytes([n]) for n in range(50)]
    expected = [offloop.compute_sha256(payload) for payload in payloads]
    assert await asyncio.gather(*map(offloop.sha256, payloads)) == expected


async def test_gather_raises_the_first_error() -> None:
    with pytest.raises(FileNotFoundError):
        await asyncio.gather(start(), hashing.file_digest(MISSING))


async def test_gather_return_exceptions_gives_errors_in_place() -> None:
    operation = start()
    with Gate() as gate:
        stopped = gate.operation()
        stopped.cancel()
        first, second, third = await asyncio.gather(
            operation, hashing.file_digest(MISSING), stopped, return_exceptions=True
        )
    assert first == DIGEST
    assert isinstance(second, FileNotFoundError)
    assert isinstance(third, asyncio.CancelledError)


async def test_wait_for_gives_the_value() -> None:
    assert await asyncio.wait_for(start(), 30) == DIGEST
    assert await asyncio.wait_for(start(), None) == DIGEST


async def test_wait_for_cancels_at_its_timeout() -> None:
    with Gate() as gate:
        operation = gate.operation()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(operation, 0.01)
        assert operation.cancelled()


async def test_wait_for_zero_cancels_what_is_pending_and_takes_what_is_done() -> None:
    with Gate() as gate:
        operation = gate.operation()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(operation, 0)
        assert operation.cancelled()
    done = start()
    await done
    assert await asyncio.wait_for(done, 0) == DIGEST


async def test_shield_keeps_the_operation_from_being_cancelled() -> None:
    with Gate() as gate:
        operation = gate.operation()
        outer = asyncio.shield(operation)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert not operation.done()
        gate.open()
        assert await operation == NOTHING


async def test_as_completed_yields_in_the_order_of_the_ends() -> None:
    with Gate() as gate:
        seen = []
        for ended in asyncio.as_completed([gate.operation(), start()]):
            seen.append(await ended)
            gate.open()
    assert seen == [DIGEST, NOTHING]


async def test_ensure_future_gives_the_operation_itself() -> None:
    operation: Any = start()
    assert asyncio.ensure_future(operation) is operation
    assert await operation == DIGEST


async def test_create_task_takes_it_for_a_coroutine() -> None:
    task = asyncio.create_task(start(), name="hashing")
    assert isinstance(task, (asyncio.Task, asyncio.tasks._PyTask))  # type: ignore[attr-defined]
    assert "hashing" in repr(task)
    assert await task == DIGEST


async def test_task_group_create_task_takes_it() -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start()) for _ in range(20)]
    assert [task.result() for task in tasks] == [DIGEST] * 20


async def test_asyncio_timeout_cancels_it() -> None:
    with Gate() as gate:
        operation = gate.operation()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await operation
        assert operation.cancelled()
    async with asyncio.timeout(30):
        assert await start() == DIGEST


async def test_three_waiters_get_the_value() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def wait() -> str:
            return await operation

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.open()
        assert await asyncio.gather(*tasks) == [NOTHING] * 3


async def test_asyncio_wait_refuses_it_and_takes_its_task() -> None:
    operation = start()
    with pytest.raises(TypeError):
        await asyncio.wait({operation})  # type: ignore[type-var]
    done, pending = await asyncio.wait({operation.as_task(), start().as_task()})
    assert not pending
    assert {task.result() for task in done} == {DIGEST}


def test_asyncio_run_takes_an_operation(loop_kind: str, make_runner: Any) -> None:
    with make_runner(loop_kind) as runner:
        assert runner.run(offloop.sha256(DATA)) == DIGEST


def test_asyncio_run_itself() -> None:
    assert asyncio.run(offloop.sha256(DATA)) == DIGEST
    assert asyncio.run(offloop.sha256(b"")) == NOTHING
    assert asyncio.run(offloop.sha256_many([DATA, b""])) == [DIGEST, NOTHING]
    with pytest.raises(FileNotFoundError):
        asyncio.run(hashing.file_digest(MISSING))


async def test_run_coroutine_threadsafe_takes_one_made_in_another_thread() -> None:
    loop = asyncio.get_running_loop()

    def elsewhere() -> str:
        return asyncio.run_coroutine_threadsafe(offloop.sha256(DATA), loop).result(30)

    assert await asyncio.to_thread(elsewhere) == DIGEST


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_eager_tasks_work() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]

    async def hash_one(data: bytes) -> str:
        return await offloop.sha256(data)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(hash_one(DATA)) for _ in range(20)]
        direct = group.create_task(offloop.sha256(DATA))
        group.create_task(hash_one(b"small: done inline, the task ends in its first step"))
    assert {task.result() for task in tasks} | {direct.result()} == {DIGEST}


async def test_the_task_written_in_python_works() -> None:
    loop = asyncio.get_running_loop()
    py_task = asyncio.tasks._PyTask  # type: ignore[attr-defined]

    async def hash_one() -> str:
        return await start()

    assert await py_task(hash_one(), loop=loop) == DIGEST
    assert await py_task(start(), loop=loop) == DIGEST
    with Gate() as gate:
        operation = gate.operation()

        async def wait() -> str:
            return await operation

        task = py_task(wait(), loop=loop)
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert operation.cancelled()


async def test_a_generator_may_delegate_to_it() -> None:
    class Wrapper:
        def __await__(self) -> Any:
            return (yield from start().__await__())

    assert await Wrapper() == DIGEST


async def test_a_task_that_waits_for_it_can_be_inspected() -> None:
    with Gate() as gate:

        async def wait() -> str:
            return await gate.operation()

        task = asyncio.create_task(wait())
        direct = asyncio.create_task(gate.operation())
        await asyncio.sleep(0)
        assert "wait" in repr(task)
        assert repr(direct)
        assert len(task.get_stack()) == 1
        assert direct.get_stack() == []
        task.print_stack(file=io.StringIO())
        if sys.version_info >= (3, 14):
            # (the graph knows no Python-level tasks)
            assert not isinstance(task, asyncio.Task) or "wait" in asyncio.format_call_graph(task)
        gate.open()
        await asyncio.gather(task, direct, return_exceptions=True)


# ---- callbacks -------------------------------------------------------------------------------------------------------


async def test_done_callbacks_are_called_once_with_the_operation() -> None:
    with Gate() as gate:
        operation = gate.operation()
        seen: list[object] = []
        for _ in range(3):
            operation.add_done_callback(seen.append)
        assert seen == []
        gate.open()
        await operation
        await until(lambda: len(seen) == 3)
    assert seen == [operation] * 3


async def test_a_callback_added_to_an_ended_operation_is_called_soon() -> None:
    operation = start()
    await operation
    seen: list[object] = []
    operation.add_done_callback(seen.append)
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [operation]


async def test_remove_done_callback_removes_equal_ones_and_counts_them() -> None:
    with Gate() as gate:
        operation = gate.operation()
        removed: list[object] = []
        kept: list[object] = []
        operation.add_done_callback(removed.append)
        operation.add_done_callback(kept.append)
        operation.add_done_callback(removed.append)
        assert operation.remove_done_callback(removed.append) == 2
        assert operation.remove_done_callback(removed.append) == 0
        gate.open()
        await operation
        await until(lambda: len(kept) == 1)
    assert removed == []


async def test_a_callback_runs_in_the_context_it_was_given() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    given = contextvars.Context()
    given.run(variable.set, "given")
    seen: list[str] = []
    operation = start()
    variable.set("current")
    operation.add_done_callback(lambda _: seen.append(variable.get()))
    operation.add_done_callback(lambda _: seen.append(variable.get()), context=given)
    variable.set("later")
    await operation
    await until(lambda: len(seen) == 2)
    assert seen == ["current", "given"]


async def test_callbacks_are_refused_with_wrong_arguments() -> None:
    operation = start()
    with pytest.raises(TypeError):
        operation.add_done_callback()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        operation.add_done_callback(print, contxt=None)  # type: ignore[call-arg]
    await operation


@pytest.mark.allow_loop_errors
async def test_an_exception_in_a_callback_goes_to_the_loop_and_spares_the_others() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    seen: list[object] = []

    def fails(_: object) -> None:
        raise ZeroDivisionError

    operation = start()
    operation.add_done_callback(fails)
    operation.add_done_callback(seen.append)
    await operation
    await until(lambda: len(seen) == 1 and len(reports) == 1)
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


# ---- cancelling ------------------------------------------------------------------------------------------------------


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


# ---- errors ----------------------------------------------------------------------------------------------------------


async def test_an_error_that_nobody_retrieved_goes_to_the_loop(request: pytest.FixtureRequest) -> None:
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))
    operation = hashing.file_digest(MISSING)
    await until(operation.done)
    assert reports == []
    del operation
    assert len(reports) == 1
    assert "never retrieved" in reports[0]["message"]
    assert isinstance(reports[0]["exception"], FileNotFoundError)


@pytest.mark.parametrize("how", ["await", "exception", "result"])
async def test_an_error_that_was_retrieved_is_not_reported(how: str) -> None:
    operation = hashing.file_digest(MISSING)
    await until(operation.done)
    if how == "exception":
        assert isinstance(operation.exception(), FileNotFoundError)
    else:
        with pytest.raises(FileNotFoundError):
            operation.result() if how == "result" else await operation


async def test_several_waiters_get_the_error_with_a_fresh_traceback() -> None:
    operation = hashing.file_digest(MISSING)

    async def wait() -> int:
        try:
            await operation
        except FileNotFoundError as error:
            depth = 0
            traceback = error.__traceback__
            while traceback is not None:
                depth += 1
                traceback = traceback.tb_next
            return depth
        return 0

    depths = await asyncio.gather(*(wait() for _ in range(10)))
    assert len(depths) == 10
    # A Python-level task adds a frame of its own; none adds one more than its predecessor.
    assert set(depths) in ({1}, {2})
    assert [await wait() for _ in range(3)] == [1] * 3


async def test_an_os_error_has_its_errno_class_and_filename(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        await hashing.file_digest(MISSING)
    assert (missing.value.filename, missing.value.errno) == (MISSING, 2)
    with pytest.raises(IsADirectoryError) as folder:
        await hashing.file_digest(tmp_path)
    assert folder.value.filename == str(tmp_path)
    if os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.write_bytes(b"x")
        closed.chmod(0)
        with pytest.raises(PermissionError):
            await hashing.file_digest(closed)


# ---- many ------------------------------------------------------------------------------------------------------------


async def test_ten_thousand_at_once_all_end() -> None:
    results = await asyncio.gather(*(offloop.sha256(b"%08d" % n * 200) for n in range(10_000)))
    assert len(set(results)) == 10_000
    assert results[4321] == offloop.compute_sha256(b"%08d" % 4321 * 200)


@pytest.mark.loops("asyncio", "uvloop")
async def test_a_storm_of_cancellations_frees_every_slot() -> None:
    before = offloop.stats()["in_flight"]
    data = DATA[:20_000]
    operations = [offloop.sha256(data) for _ in range(10_000)]
    tasks = [asyncio.create_task(operation) for operation in operations[::2]]
    await asyncio.sleep(0)
    for operation in operations:
        operation.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(operation.done() or operation.cancel() is False for operation in operations)
    await until(lambda: offloop.stats()["in_flight"] == before and offloop.stats()["parked"] == 0)
    assert await start() == DIGEST


async def test_timers_do_not_starve_behind_ten_thousand_completions() -> None:
    count = 10_000
    with settings(max_pending=2 * count):
        operations = published(DATA[:20_000], count)
    delivered = 0

    def work(_: object) -> None:
        nonlocal delivered
        delivered += 1
        sum(range(500))  # all of them take many times the budget of a drain

    delivered_at_timer = -1

    def timer() -> None:
        nonlocal delivered_at_timer
        delivered_at_timer = delivered

    for operation in operations:
        operation.add_done_callback(work)
    asyncio.get_running_loop().call_later(0.001, timer)
    await until(lambda: delivered == count)
    # It was due during the first of the turns that they took: half of them would be many turns.
    assert 0 <= delivered_at_timer < count / 2


async def test_it_is_used_on_its_loops_thread_and_loops_do_not_disturb_each_other() -> None:
    results: dict[int, list[str]] = {}

    async def many(seed: int) -> list[str]:
        return await asyncio.gather(*(offloop.sha256(DATA[:5000] + bytes([seed, n])) for n in range(100)))

    def thread(seed: int) -> None:
        results[seed] = asyncio.run(many(seed))

    threads = [threading.Thread(target=thread, args=(seed,)) for seed in range(4)]
    for started in threads:
        started.start()
    mine = await many(200)
    await until(lambda: not any(started.is_alive() for started in threads))
    assert mine[7] == offloop.compute_sha256(DATA[:5000] + bytes([200, 7]))
    for seed in range(4):
        assert results[seed][99] == offloop.compute_sha256(DATA[:5000] + bytes([seed, 99]))
