"""Without the GIL: loops in several threads run at once, and threads that share operations harm nobody.

Operations are documented as not thread-safe. What is tested here is that breaking that rule ends as defined: each
operation ends exactly once, with its own result or cancelled, and everything is freed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import queue
import random
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, block_until, resizable, settings

import offloop
from offloop import Operation, hashing

pytestmark = [
    pytest.mark.skipif(
        not sysconfig.get_config_var("Py_GIL_DISABLED"),
        reason="needs a free-threaded CPython, which OFFLOOP_FT_PYTHON names for `make test-ft`",
    ),
    pytest.mark.timeout(180),
]

THREADS = 6
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def the_gil_is_off() -> Iterator[None]:
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]
    yield
    block_until(lambda: (gc.collect(), offloop.stats()["in_flight"])[1] == 0, "all slots to be free")
    assert offloop.stats()["parked"] == 0
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]


def in_threads(work: Callable[[int], object], count: int = THREADS) -> list[Any]:
    """Runs work(0) ... work(count - 1), each in a thread, all starting together; the results, or the first error."""
    start = threading.Barrier(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            start.wait(PATIENCE_S)
            results[index] = work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S * 2)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]
    return results


# ---- loops side by side ----------------------------------------------------------------------------------------------


def test_two_loops_are_inside_their_drains_at_the_same_time() -> None:
    """A callback of one loop waits for one of the other: no lock of ours is held while Python code runs."""
    meeting = threading.Barrier(2)

    async def main() -> int:
        operation = offloop.sha256(DATA)
        met = asyncio.get_running_loop().create_future()
        operation.add_done_callback(lambda _: met.set_result(meeting.wait(PATIENCE_S)))
        assert await operation == DIGEST
        return int(await met)

    assert sorted(in_threads(lambda _: asyncio.run(main()), 2)) == [0, 1]


def test_loops_in_many_threads_get_their_own_results() -> None:
    def work(index: int) -> None:
        sizes = random.Random(index)
        payloads = [sizes.randbytes(sizes.randrange(30_000)) for _ in range(400)]

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(offloop.sha256(payload)) for payload in payloads]
            many = await offloop.sha256_many(payloads)
            expected = [hashlib.sha256(payload).hexdigest() for payload in payloads]
            assert [task.result() for task in tasks] == many == expected

        asyncio.run(main())

    in_threads(work)


def test_loops_in_many_threads_share_the_limit_of_pending_operations() -> None:
    async def main() -> None:
        assert set(await asyncio.gather(*(offloop.sha256(DATA) for _ in range(300)))) == {DIGEST}

    with settings(max_pending=8):
        in_threads(lambda _: asyncio.run(main()))


def test_loops_come_and_go_in_many_threads() -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def main(kept: list[Operation[str]]) -> None:
        assert await offloop.sha256(DATA) == DIGEST
        kept.append(offloop.sha256(DATA))  # still pending when its loop is closed

    def work(_: int) -> None:
        for _ in range(60):
            kept: list[Operation[str]] = []
            asyncio.run(main(kept))

    in_threads(work)
    block_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "the eventfds of closed loops to be closed")


def test_closed_loops_are_collected_while_others_start() -> None:
    def work(_: int) -> None:
        for _ in range(60):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(offloop.sha256(DATA)) == DIGEST
            loop.close()
            gone = weakref.ref(loop)
            del loop
            gc.collect()
            block_until(lambda gone=gone: gone() is None, "the loop to be collected")  # type: ignore[misc]

    in_threads(work, 4)


# ---- one operation, many threads -------------------------------------------------------------------------------------


def poke(operation: Operation[str], dice: random.Random, cancel: bool) -> None:
    """One random thing that a thread may do to an operation; what it may raise is documented."""
    forbidden = (asyncio.CancelledError, asyncio.InvalidStateError, StopIteration, RuntimeError)
    called = dice.randrange(12)
    with contextlib.suppress(*forbidden):
        if called == 0 and cancel:
            operation.cancel("from another thread")
        elif called == 1:
            assert operation.result() == DIGEST
        elif called == 2:
            assert operation.exception() is None
        elif called == 3:
            operation.add_done_callback(print)
            operation.remove_done_callback(print)
        elif called == 4:
            assert operation.remove_done_callback(repr) == 0
        elif called == 5:
            assert operation.done() in (True, False)
            assert operation.cancelled() in (True, False)
        elif called == 6:
            assert "sha256" in repr(operation)
        elif called == 7:
            operation.send(None)
        elif called == 8 and cancel:
            operation.throw(asyncio.CancelledError())
        elif called == 9:
            assert operation._asyncio_future_blocking in (True, False)  # type: ignore[attr-defined]
        elif called == 10:
            operation.get_loop().is_running()
        else:
            assert weakref.ref(operation)() is operation


@pytest.mark.parametrize("cancel", [False, True])
@pytest.mark.parametrize("data", [b"small", DATA], ids=["inline", "pool"])
def test_threads_poke_at_operations_while_their_loop_delivers_them(cancel: bool, data: bytes) -> None:
    shared: list[Operation[str]] = []
    over = threading.Event()
    digest = hashlib.sha256(data).hexdigest()

    def work(index: int) -> int:
        if index == 0:
            try:
                return asyncio.run(main())
            finally:
                over.set()
        dice = random.Random(index)
        while not over.is_set():
            with contextlib.suppress(IndexError, AssertionError if data != DATA else IndexError):
                poke(shared[dice.randrange(32)], dice, cancel)
        return 0

    async def main() -> int:
        values = 0
        for _ in range(150):
            shared[:] = [offloop.sha256(data) for _ in range(32)]
            for operation in list(shared):
                try:
                    assert await asyncio.wait_for(operation, PATIENCE_S) == digest
                    values += 1
                except asyncio.CancelledError:
                    assert cancel
                    assert operation.cancelled()
        return values

    values = in_threads(work)[0]
    shared.clear()
    assert 0 < values <= 150 * 32
    assert cancel or values == 150 * 32


def test_each_callback_is_called_once_whoever_adds_it() -> None:
    calls: queue.SimpleQueue[int] = queue.SimpleQueue()
    rounds = 100
    ready = threading.Barrier(THREADS)
    shared: list[Operation[str]] = []

    def work(index: int) -> None:
        if index == 0:
            asyncio.run(main())
            return
        for _ in range(rounds):
            ready.wait(PATIENCE_S)
            shared[0].add_done_callback(lambda _: calls.put(index))
            ready.wait(PATIENCE_S)

    async def main() -> None:
        for _ in range(rounds):
            shared[:] = [offloop.sha256(DATA)]
            ready.wait(PATIENCE_S)
            ready.wait(PATIENCE_S)
            assert await shared[0] == DIGEST
        while calls.qsize() < rounds * (THREADS - 1):  # the ends of some were seen before they were added: by call_soon
            await asyncio.sleep(0)

    in_threads(work)
    counts = [0] * THREADS
    while not calls.empty():
        counts[calls.get()] += 1
    assert counts == [0] + [rounds] * (THREADS - 1)


@pytest.mark.parametrize("max_pending", [100_000, 4], ids=["running", "parked"])
def test_the_last_reference_may_be_dropped_by_any_thread(max_pending: int) -> None:
    """The operation is freed by one thread while its loop's thread is delivering it."""
    handed: queue.SimpleQueue[list[Operation[str]] | None] = queue.SimpleQueue()

    def work(index: int) -> None:
        if index == 0:
            asyncio.run(main())
            for _ in range(THREADS - 1):
                handed.put(None)
            return
        while (operations := handed.get()) is not None:
            while operations:
                del operations[-1]

    async def main() -> None:
        for _ in range(400):
            handed.put([offloop.sha256(DATA) for _ in range(8)])
            await asyncio.sleep(0)
        assert await offloop.sha256(DATA) == DIGEST

    with settings(max_pending=max_pending):
        in_threads(work)


@pytest.mark.parametrize("make", ["sha256", "sha256_many", "file"])
def test_cancel_from_other_threads_ends_once(make: str) -> None:
    makers: dict[str, Callable[[], Operation[Any]]] = {
        "sha256": lambda: offloop.sha256(DATA),
        "sha256_many": lambda: offloop.sha256_many([DATA] * 40),
        "file": lambda: hashing.file_hexdigest("/proc/self/exe"),
    }
    exe = hashlib.sha256(Path("/proc/self/exe").read_bytes()).hexdigest()
    right = {"sha256": DIGEST, "sha256_many": [DIGEST] * 40, "file": exe}[make]
    shared: list[Operation[Any]] = []
    over = threading.Event()

    def work(index: int) -> int:
        if index == 0:
            try:
                return asyncio.run(main())
            finally:
                over.set()
        won = 0
        while not over.is_set():
            for operation in list(shared):
                won += operation.cancel()
        return won

    async def main() -> int:
        cancelled = 0
        for _ in range(150):
            shared[:] = [makers[make]() for _ in range(4)]
            for operation in list(shared):
                try:
                    assert await operation == right
                except asyncio.CancelledError:
                    cancelled += 1
                assert operation.done()
        return cancelled

    cancelled, *won = in_threads(work)
    shared.clear()
    assert cancelled == sum(won)


def test_an_unbound_operation_is_bound_by_one_of_the_threads_that_await_it() -> None:
    for _ in range(40):
        operation = offloop.sha256(DATA)  # no loop runs here

        async def main(operation: Operation[str] = operation) -> str | None:
            async def wait() -> str:
                return await operation

            try:
                return await wait()
            except RuntimeError as error:
                if "loop" not in str(error):
                    raise
                return None

        results = in_threads(lambda _, main=main: asyncio.run(main()), 3)  # type: ignore[misc]
        assert results.count(DIGEST) >= 1
        assert set(results) <= {DIGEST, None}


# ---- what operations share -------------------------------------------------------------------------------------------


def test_one_buffer_may_be_read_by_all_threads() -> None:
    data = bytearray(DATA)

    async def main() -> None:
        for _ in range(30):
            assert set(await asyncio.gather(*(offloop.sha256(data) for _ in range(16)))) == {DIGEST}

    in_threads(lambda _: asyncio.run(main()))
    block_until(lambda: resizable(data), "the exports to be released")


def test_settings_and_counters_may_be_used_by_all_threads() -> None:
    async def main(index: int) -> None:
        for turn in range(40):
            if index % 2:
                offloop.configure(max_pending=16 + turn)
            assert offloop.stats()["done"] >= 0
            assert await offloop.sha256(DATA) == DIGEST

    with settings():
        in_threads(lambda index: asyncio.run(main(index)))


def test_blocking_calls_run_in_parallel_threads() -> None:
    payloads = [DATA[:size] for size in range(0, 3000, 7)]
    expected = [hashlib.sha256(payload).hexdigest() for payload in payloads]

    def work(_: int) -> None:
        for _ in range(10):
            assert offloop.batch_hash(payloads, 2) == expected
            assert offloop.compute_sha256(DATA) == DIGEST

    in_threads(work)


def test_a_fetcher_may_be_closed_while_others_use_it(origin: Any) -> None:
    url = origin.url("/bytes/2000")
    for _ in range(10):
        fetcher = offloop.fetch.Fetcher(max_concurrent=16)

        async def main(index: int, fetcher: offloop.fetch.Fetcher = fetcher) -> None:
            for turn in range(30):
                if index == 0 and turn == 15:
                    fetcher.close()
                try:
                    assert len((await fetcher.get(url)).body) == 2000
                except (offloop.PoolClosedError, asyncio.CancelledError):
                    assert fetcher.closed

        in_threads(lambda index, main=main: asyncio.run(main(index)), 4)  # type: ignore[misc]
        fetcher.close()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_while_other_threads_run_loops_leaves_a_usable_child() -> None:
    over = threading.Event()

    async def busy() -> None:
        while not over.is_set():
            await asyncio.gather(*(offloop.sha256(DATA) for _ in range(8)))

    def work(index: int) -> list[int]:
        if index > 0:
            asyncio.run(busy())
            return []
        try:
            codes = []
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    os._exit(0 if asyncio.run(offloop.sha256(DATA)) == DIGEST else 1)
                codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            return codes
        finally:
            over.set()

    assert in_threads(work, 3)[0] == [0] * 10
