"""offloop.Operation as a value: what it is, its callbacks, its errors, and ten thousand of them."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import inspect
import os
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, NOTHING, Gate, published, settings, until

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
