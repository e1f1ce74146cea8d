"""Cancelling in every phase of an operation's life: unbound, parked, queued, running (with and without an ear for it),
ended but not delivered, delivered. Each operation ends exactly once, and its slot is free when the work really ends.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from bridge_helpers import DATA, DIGEST, PATIENCE_S, Gate, block_until, published, resizable, settings, sha256, until

import offloop
from offloop import Operation, hashing
from offloop.testing import spin

LONG_S = 3600


async def idle() -> None:
    await until(lambda: not any(offloop.stats()[name] for name in ("in_flight", "running", "queued")), "an idle pool")


async def busy(workers: int) -> None:
    await until(lambda: offloop.stats()["running"] == workers, f"{workers} busy workers")


def counted(operation: Operation[object], ends: Counter[int]) -> None:
    operation.add_done_callback(lambda ended: ends.update([id(ended)]))


# ---- queued ----------------------------------------------------------------------------------------------------------


async def test_cancelled_while_queued_it_never_runs_and_its_slot_is_free_at_once() -> None:
    with settings(threads=1):
        plug = spin(LONG_S)
        await busy(1)
        buffer = bytearray(DATA)
        queued: list[Operation[object]] = [offloop.sha256(buffer), hashing.digest(buffer, "md5"), spin(LONG_S, False)]
        assert offloop.stats()["in_flight"] == 4
        before = offloop.stats()["bytes"]
        assert all(operation.cancel() for operation in queued)
        assert offloop.stats()["in_flight"] == 1
        assert resizable(buffer)
        plug.cancel()
        await idle()
        assert offloop.stats()["bytes"] == before  # nobody has read a byte


async def test_cancelling_one_in_the_middle_of_the_queue_leaves_its_neighbours_alone() -> None:
    with settings(threads=1):
        plug = spin(LONG_S)
        await busy(1)
        queued = [offloop.sha256(bytearray(DATA)) for _ in range(9)]
        assert queued[4].cancel()
        plug.cancel()
        results = await asyncio.gather(*queued, return_exceptions=True)
        assert results[:4] + results[5:] == [DIGEST] * 8
        assert isinstance(results[4], asyncio.CancelledError)
        await idle()


async def test_cancelled_by_another_thread_while_queued_it_wakes_a_loop_that_is_asleep() -> None:
    """Not a thing to do, but with a defined end: nothing native comes back that would wake the loop."""
    loops_thread = Path(f"/proc/self/task/{threading.get_native_id()}/stat")

    def asleep() -> bool:
        return loops_thread.read_text().rpartition(")")[2].split()[0] == "S"

    with settings(threads=1):
        plug = spin(LONG_S)
        try:
            await busy(1)
            for _ in range(20):  # asleep it may be for a moment before it waits for events
                operation = offloop.sha256(bytearray(DATA))

                def cancel(operation: Operation[str] = operation) -> None:
                    block_until(asleep, "the loop to sleep")
                    assert operation.cancel()

                thread = threading.Thread(target=cancel)
                thread.start()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(operation, PATIENCE_S)
                thread.join()
        finally:
            plug.cancel()
        await idle()


# ---- running ---------------------------------------------------------------------------------------------------------


async def test_a_running_cooperative_one_ends_early_and_frees_its_worker() -> None:
    with settings(threads=1):
        operation = spin(LONG_S)
        await busy(1)
        task = operation.as_task()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await offloop.sha256(DATA) == DIGEST
        await idle()


async def test_a_running_uncooperative_one_wakes_its_waiters_at_once_and_keeps_its_slot_to_its_end() -> None:
    with settings(threads=1, max_pending=1):
        ends_at = time.monotonic() + 0.2
        operation = spin(0.2, cooperative=False)
        await busy(1)
        assert operation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await operation
        # The one slot is held as long as the work really runs: the next operation is parked behind it.
        behind = offloop.sha256(bytearray(DATA))
        if time.monotonic() < ends_at:
            assert offloop.stats()["parked"] == 1
        assert await behind == DIGEST
        assert time.monotonic() >= ends_at
        await idle()


async def test_a_running_one_with_a_buffer_keeps_it_until_the_worker_is_done_with_it() -> None:
    with settings(threads=1):
        buffer = bytearray(64 * 1024 * 1024)
        operation = hashing.digest(buffer, "sha3_512")
        await busy(1)
        assert operation.cancel()
        assert operation.cancelled()
        await until(lambda: resizable(buffer), "the buffer")
        await idle()


# ---- waiting for data ------------------------------------------------------------------------------------------------


async def test_files_without_data_stop_no_other_file_and_end_at_once_when_cancelled(tmp_path: Path) -> None:
    pipes = [tmp_path / f"{n}" for n in range(8)]  # twice as many as there are readers
    for pipe in pipes:
        os.mkfifo(pipe)
    file = tmp_path / "file"
    file.write_bytes(DATA)
    with Gate() as gate:
        waiting = [hashing.file_hexdigest(pipe) for pipe in pipes]  # nobody opens them to write
        waiting += [gate.operation() for _ in range(8)]  # somebody has, and writes nothing
        assert await asyncio.wait_for(hashing.file_hexdigest(file), PATIENCE_S) == DIGEST
        assert not any(operation.done() for operation in waiting)
        assert all(operation.cancel() for operation in waiting)
        await idle()  # a slot comes back when the work has really ended


# ---- ended, not delivered --------------------------------------------------------------------------------------------


async def test_an_ended_one_that_was_not_delivered_keeps_its_result() -> None:
    (operation,) = published()
    assert not operation.done()
    assert operation.cancel() is False
    assert await operation == DIGEST


async def test_wait_for_zero_takes_a_result_that_is_on_its_way_or_times_out_but_loses_nothing() -> None:
    (operation,) = published()
    try:
        assert await asyncio.wait_for(operation, 0) == DIGEST
    except TimeoutError:
        assert await operation == DIGEST
    assert operation.result() == DIGEST


async def test_a_timeout_that_strikes_between_end_and_delivery_leaves_the_result() -> None:
    (operation,) = published()
    try:
        async with asyncio.timeout(0):
            assert await operation == DIGEST  # uvloop looks at the descriptor first
    except TimeoutError:
        pass
    assert await operation == DIGEST


# ---- ended -----------------------------------------------------------------------------------------------------------


async def test_cancelling_what_has_ended_changes_nothing() -> None:
    with settings(threads=1):
        value = offloop.sha256(DATA)
        error = hashing.file_digest("/nowhere/at/all")
        cancelled = spin(LONG_S)
        cancelled.cancel("first")
        await asyncio.gather(value, error, cancelled, return_exceptions=True)
        for operation in (value, error, cancelled):
            assert operation.cancel("again") is False
        assert value.result() == DIGEST
        assert isinstance(error.exception(), FileNotFoundError)
        with pytest.raises(asyncio.CancelledError, match="first"):
            cancelled.result()
        await idle()


# ---- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_a_cancel_that_races_the_end_decides_once(seed: int) -> None:
    """cancel() says True: cancelled. False: the value. Never both, never neither, and every waiter is told once."""
    choose = random.Random(seed)
    ends: Counter[int] = Counter()
    operations = []
    said: dict[int, bool] = {}
    for _ in range(400):
        operation = offloop.sha256(bytearray(choose.randrange(1, 60_000)))
        counted(operation, ends)
        operations.append(operation)
        if choose.random() < 0.3:
            victim = choose.choice(operations)
            answer = victim.cancel()
            said[id(victim)] = said.get(id(victim), False) or answer
        if choose.random() < 0.1:
            await asyncio.sleep(0)
    await until(lambda: len(ends) == len(operations))
    await idle()
    assert set(ends.values()) == {1}
    for operation in operations:
        assert operation.cancelled() == said.get(id(operation), False)
        assert operation.cancelled() or len(operation.result()) == 64


async def test_what_the_pool_counts_as_done_and_stopped_adds_up_after_a_storm() -> None:
    await idle()
    before = offloop.stats()
    operations = [offloop.sha256(bytearray(30_000)) for _ in range(1000)]
    for operation in operations[::3]:
        operation.cancel()
    await asyncio.gather(*operations, return_exceptions=True)
    await idle()
    after = offloop.stats()
    assert sum(after[name] - before[name] for name in ("done", "stopped", "failed")) == 1000


# ---- what asyncio does with it ---------------------------------------------------------------------------------------


async def test_uncancel_lets_a_task_go_on_with_other_operations() -> None:
    async def work() -> str:
        task = asyncio.current_task()
        assert task is not None
        try:
            await spin(LONG_S)
        except asyncio.CancelledError:
            assert task.uncancel() == 0
        async with asyncio.timeout(60):  # works only if the task is not considered cancelled any more
            return await offloop.sha256(bytearray(DATA))

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == DIGEST
    await idle()


async def test_a_task_group_that_fails_cancels_operations_in_every_phase() -> None:
    with settings(threads=1, max_pending=3), Gate() as gate:
        buffer = bytearray(DATA)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(spin(LONG_S))
                await busy(1)
                reading = group.create_task(gate.operation())
                # Cooperative: the group cancels in no order, so the worker may take it before its turn to be cancelled.
                queued = group.create_task(spin(LONG_S))
                await asyncio.sleep(0)
                parked = [group.create_task(offloop.sha256(buffer)) for _ in range(3)]
                await asyncio.sleep(0)
                assert offloop.stats()["parked"] == 3
                raise ZeroDivisionError
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert all(task.cancelled() for task in (running, reading, queued, *parked))
        assert resizable(buffer)
        gate.open()
        await idle()


async def test_timeouts_inside_timeouts_strike_the_right_one() -> None:
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await spin(LONG_S)
        assert await offloop.sha256(bytearray(DATA)) == DIGEST
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            async with asyncio.timeout(60):
                await spin(LONG_S)
    await idle()


async def test_a_shield_keeps_it_alive_in_every_phase() -> None:
    with settings(threads=1):
        running = spin(0.05)
        queued = offloop.sha256(bytearray(DATA))
        for operation in (running, queued):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(operation), 0)
        assert await running is None
        assert await queued == DIGEST


async def test_cancelling_gather_cancels_all_and_each_frees_its_slot() -> None:
    with settings(threads=1, max_pending=4):
        gathered = asyncio.gather(
            *(spin(LONG_S) for _ in range(3)), *(offloop.sha256(bytearray(DATA)) for _ in range(5))
        )
        await busy(1)
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered
        await idle()
        assert await offloop.sha256(DATA) == DIGEST


async def test_a_coroutine_that_is_closed_while_it_awaits_lets_go_of_the_operation() -> None:
    async def work() -> None:
        await spin(LONG_S)

    coroutine = work()
    waited_for = coroutine.send(None)
    waited_for._asyncio_future_blocking = False
    coroutine.close()
    del waited_for
    await idle()


async def test_the_loop_is_free_while_the_pool_is_not() -> None:
    """All workers in what cannot be interrupted: small messages, timers and callbacks go on."""
    with settings(threads=2):
        operations = [spin(0.3, cooperative=False) for _ in range(2)]
        await busy(2)
        turns = 0
        while not operations[0].done():
            assert await offloop.sha256(b"small") == sha256(b"small")
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        await asyncio.gather(*operations)


def test_cancelled_on_the_way_out_of_a_run_they_end_in_peace() -> None:
    """asyncio.run() cancels the tasks that are left; those of the next run are not disturbed by what still runs."""
    kept: list[asyncio.Task[None]] = []

    async def first() -> None:
        kept.extend(spin(0.1, cooperative=False).as_task() for _ in range(3))
        await asyncio.sleep(0)

    async def second() -> None:
        assert await asyncio.gather(*(offloop.sha256(bytearray(DATA)) for _ in range(20))) == [DIGEST] * 20

    asyncio.run(first())
    assert all(task.cancelled() for task in kept)
    asyncio.run(second())
    block_until(lambda: offloop.stats()["running"] == 0)
