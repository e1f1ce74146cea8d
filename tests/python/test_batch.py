"""sha256_many and batch_hash: many messages, one call, results in input order, at most so many workers."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, assert_clean, resizable, run_program, settings, sha256, until, zeros

import offloop

pytestmark = pytest.mark.every_loop

# See many.cpp:
WINDOW = 4096  # messages in flight for one call
CHAIN = 32  # submitted together
COLLECTED = 16  # results made between two looks at the clock
COUNTS = [0, 1, 2, 31, 32, 33, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 7]


def payloads_of(count: int, most: int = 3000) -> list[bytes]:
    sizes = random.Random(count)
    return [sizes.randbytes(sizes.randrange(most)) for _ in range(count)]


@pytest.mark.parametrize("count", COUNTS)
async def test_results_come_in_input_order(count: int) -> None:
    payloads = payloads_of(count)
    expected = [sha256(payload) for payload in payloads]
    assert await offloop.sha256_many(payloads) == expected
    assert offloop.batch_hash(payloads, 2) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 1000, 2**31, 2**70, None])
async def test_any_limit_gives_the_same_digests(limit: int | None) -> None:
    payloads = payloads_of(300, 20_000)
    expected = [sha256(payload) for payload in payloads]
    assert await offloop.sha256_many(payloads, max_concurrent=limit) == expected
    if limit is not None:
        assert offloop.batch_hash(payloads, limit) == expected
        assert offloop.batch_hash(payloads=payloads, max_concurrent=limit) == expected


async def test_any_iterable_is_taken() -> None:
    payloads = payloads_of(50)
    expected = [sha256(payload) for payload in payloads]
    for some in (tuple(payloads), iter(payloads), (payload for payload in payloads), dict.fromkeys(payloads)):
        assert await offloop.sha256_many(some) == expected
    assert offloop.batch_hash((payload for payload in payloads), 2) == expected


async def test_changing_the_callers_list_meanwhile_changes_nothing() -> None:
    payloads = payloads_of(5000)
    expected = [sha256(payload) for payload in payloads]
    operation = offloop.sha256_many(payloads)
    payloads.clear()
    gc.collect()
    assert await operation == expected


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, -(2**70)])
async def test_a_limit_that_is_not_positive_is_a_value_error(limit: int) -> None:
    message = f"^max_concurrent must be greater than 0, got {limit}$"
    with pytest.raises(ValueError, match=message):
        offloop.batch_hash([b"a"], limit)
    with pytest.raises(ValueError, match=message):
        offloop.sha256_many([b"a"], max_concurrent=limit)
    with pytest.raises(ValueError, match=message):
        offloop.batch_hash([], limit)


@pytest.mark.parametrize("limit", [True, "2", 2.0, b"2", [2]])
async def test_a_limit_of_the_wrong_type_is_a_type_error(limit: Any) -> None:
    with pytest.raises(TypeError, match=f"max_concurrent must be an int, not '{type(limit).__name__}'"):
        offloop.batch_hash([b"a"], limit)
    with pytest.raises(TypeError, match="max_concurrent must be an int"):
        offloop.sha256_many([b"a"], max_concurrent=limit)


async def test_none_is_a_limit_for_sha256_many_only() -> None:
    with pytest.raises(TypeError):
        offloop.batch_hash([b"a"], None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        offloop.batch_hash([b"a"])  # type: ignore[call-arg]
    assert await offloop.sha256_many([b"a"], max_concurrent=None) == [sha256(b"a")]


@pytest.mark.parametrize("one", [b"one", bytearray(b"one"), "one"])
async def test_one_message_instead_of_a_sequence_is_a_type_error(one: Any) -> None:
    with pytest.raises(TypeError, match="sequence of bytes-like"):
        offloop.sha256_many(one)
    with pytest.raises(TypeError, match="sequence of bytes-like"):
        offloop.batch_hash(one, 1)


@pytest.mark.parametrize("wrong", [None, 5, 1.5])
async def test_what_cannot_be_iterated_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        offloop.sha256_many(wrong)
    with pytest.raises(TypeError):
        offloop.batch_hash(wrong, 1)


async def test_an_error_in_the_callers_generator_comes_through() -> None:
    def broken() -> Any:
        yield b"a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        offloop.sha256_many(broken())
    with pytest.raises(ZeroDivisionError):
        offloop.batch_hash(broken(), 1)


async def test_an_error_names_the_index_and_nothing_was_queued() -> None:
    payloads: list[Any] = [bytearray(DATA) for _ in range(10)]
    payloads[7] = "seven"
    in_flight = offloop.stats()["in_flight"]
    with pytest.raises(TypeError, match=r"payloads\[7\] must be a bytes-like object"):
        offloop.sha256_many(payloads)
    with pytest.raises(TypeError, match=r"payloads\[7\] must be a bytes-like object"):
        offloop.batch_hash(payloads, 3)
    assert offloop.stats()["in_flight"] == in_flight
    assert all(resizable(payload) for payload in payloads if isinstance(payload, bytearray))


# ---- cancelling, limits, memory --------------------------------------------------------------------------------------


async def test_a_cancelled_call_wakes_its_waiter_at_once_and_gives_all_buffers_back() -> None:
    payloads = [bytearray(DATA) for _ in range(500)]
    operation = offloop.sha256_many(payloads)
    task = operation.as_task()
    await asyncio.sleep(0)
    cancelled = operation.cancel()
    if cancelled:
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await task
    await until(lambda: all(map(resizable, payloads)), "the buffers to be given back")
    await until(lambda: offloop.stats()["in_flight"] == 0)


async def test_cancelling_drops_what_is_queued() -> None:
    plug = zeros(1 << 30)
    before = sys.getrefcount(plug)
    operation = offloop.sha256_many([plug] * 2000)
    assert operation.cancel() is True
    # Two terabytes are not hashed: each message ends at its next quantum.
    await until(lambda: offloop.stats()["in_flight"] == 0)
    await until(lambda: sys.getrefcount(plug) == before)
    plug.close()


async def test_a_dropped_call_gives_all_back() -> None:
    payloads = [bytearray(DATA) for _ in range(200)]
    offloop.sha256_many(payloads)
    await until(lambda: all(map(resizable, payloads)))


async def test_calls_side_by_side_do_not_mix() -> None:
    sets = [payloads_of(100 + n) for n in range(20)]
    results = await asyncio.gather(
        *(offloop.sha256_many(payloads, max_concurrent=n % 3 + 1) for n, payloads in enumerate(sets))
    )
    assert results == [[sha256(payload) for payload in payloads] for payloads in sets]


@pytest.mark.loops("asyncio")
async def test_the_loop_turns_while_many_are_hashed() -> None:
    operation = offloop.sha256_many([b"%d" % n for n in range(200_000)])
    turns = 0
    while not operation.done():
        turns += 1
        await asyncio.sleep(0)
    # 200,000 take more than 20 ms of the loop's time alone: in slices of 1 ms there are many.
    assert turns > 10
    assert (await operation)[199_999] == sha256(b"199999")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="exporters written in Python came with 3.12")
async def test_a_slice_ends_soon_after_its_time_whatever_is_left_to_do() -> None:
    """Counted, not timed: a chain of these takes many times a slice's time, and so do the results of one."""
    count = 1000
    turn = 0
    taken: Counter[int] = Counter()
    given_back: Counter[int] = Counter()

    class Slow:
        def __buffer__(self, flags: int) -> memoryview:
            time.sleep(0.0002)
            taken[turn] += 1
            return memoryview(b"slow")

        def __release_buffer__(self, view: memoryview) -> None:
            time.sleep(0.0002)
            given_back[turn] += 1

    # A slice looks at the clock after each of at most three chains that it submits, whose buffers are asked for twice
    # (whether there is one, and for it), and after some messages that it collects; a turn may hold two slices.
    of_a_slice = 3 * CHAIN * 2
    operation = offloop.sha256_many([Slow() for _ in range(count)])
    assert taken[0] <= count + of_a_slice  # the call itself asks each payload whether it is one
    taken.clear()
    given_back.clear()
    while not operation.done():
        turn += 1
        await asyncio.sleep(0)
    assert await operation == [sha256(b"slow")] * count
    assert max(taken.values()) <= 2 * of_a_slice
    assert max(given_back.values()) <= 2 * (of_a_slice + COLLECTED)
    assert sum(given_back.values()) >= count


def test_at_most_max_concurrent_workers_hash_at_once() -> None:
    # CPU time of all threads over wall time: with one worker at once it cannot be much above 1.
    ended = run_program("limit", env={"OFFLOOP_THREADS": "4"})
    assert_clean(ended)


def test_batch_hash_lets_other_threads_run() -> None:
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1

    other = threading.Thread(target=count)
    other.start()
    try:
        before = counted
        for _ in range(50):
            assert offloop.batch_hash([bytes(4_000_000)] * 4, 2)[0] == sha256(bytes(4_000_000))
            if counted > before:
                break
    finally:
        done.set()
        other.join()
    assert counted > before


def test_batch_hash_from_many_threads_at_once() -> None:
    results: list[list[str]] = []
    payloads = payloads_of(500)
    threads = [
        threading.Thread(target=lambda n=n: results.append(offloop.batch_hash(payloads, n % 3 + 1))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[sha256(payload) for payload in payloads]] * 8


async def test_batch_hash_inside_a_coroutine_works_beside_operations() -> None:
    operations = [offloop.sha256(DATA) for _ in range(50)]
    assert offloop.batch_hash([DATA] * 20, 2) == [DIGEST] * 20
    assert await asyncio.gather(*operations) == [DIGEST] * 50


async def test_it_works_with_one_worker() -> None:
    with settings(threads=1):
        payloads = payloads_of(2000)
        assert (await offloop.sha256_many(payloads, max_concurrent=5))[1999] == sha256(payloads[1999])
        assert offloop.batch_hash(payloads, 5)[1999] == sha256(payloads[1999])
