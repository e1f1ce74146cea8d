"""offloop.Operation goes wherever asyncio takes a future or a coroutine."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, NOTHING, Gate

import offloop
from offloop import Operation, hashing

pytestmark = pytest.mark.every_loop

MISSING = "/nonexistent/offloop"


def start() -> Operation[str]:
    return offloop.sha256(DATA)


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
    if type(loop).__module__.startswith("uvloop") and sys.version_info[:2] == (3, 13):
        pytest.skip("uvloop hands the factory eager_start, which that of CPython 3.13.0 does not take")
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
