"""offloop.testing.spin(): an operation that only takes time, with and without an ear for a request to stop."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, Gate, settings, until

import offloop
from offloop.testing import spin

LONG_S = 3600  # nobody waits for it: a test that did would never end


async def running(count: int) -> None:
    await until(lambda: offloop.stats()["running"] >= count, f"{count} running")


async def idle() -> None:
    await until(lambda: offloop.stats()["in_flight"] == 0 and offloop.stats()["running"] == 0, "an idle pool")


@pytest.mark.parametrize("cooperative", [True, False])
async def test_it_takes_its_time_and_yields_none(cooperative: bool) -> None:
    started = time.monotonic()
    operation = spin(0.05, cooperative=cooperative)
    assert isinstance(operation, offloop.Operation)
    assert await operation is None
    assert time.monotonic() - started >= 0.05


async def test_it_burns_cpu_time_on_a_worker_and_the_loop_goes_on() -> None:
    turns = 0
    operation = spin(0.05)
    used = time.process_time() - time.thread_time()
    while not operation.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 1
    assert time.process_time() - time.thread_time() > used


async def test_nothing_takes_no_time() -> None:
    assert await spin(0) is None
    assert await spin(0.0, False) is None


async def test_a_cooperative_one_frees_its_worker_when_it_is_cancelled() -> None:
    with settings(threads=1):
        operation = spin(LONG_S)
        await running(1)
        assert operation.cancel() is True
        with pytest.raises(asyncio.CancelledError):
            await operation
        assert await offloop.sha256(DATA) == DIGEST  # by the one worker there is
        await idle()


async def test_an_uncooperative_one_goes_on_to_its_end_and_keeps_its_slot() -> None:
    with settings(threads=1):
        started = time.monotonic()
        operation = spin(0.3, cooperative=False)
        await running(1)
        assert operation.cancel() is True
        with pytest.raises(asyncio.CancelledError):
            await operation  # at once: the loop is not held up by what cannot be stopped
        if time.monotonic() - started < 0.3:
            assert offloop.stats()["in_flight"] == 1
        assert await offloop.sha256(DATA) == DIGEST
        assert time.monotonic() - started >= 0.3  # the worker was not free before
        await idle()


async def test_cancelled_while_queued_it_never_runs() -> None:
    with settings(threads=1):
        first = spin(LONG_S)
        await running(1)
        queued = spin(LONG_S, cooperative=False)  # would hold the worker for an hour
        assert queued.cancel() is True
        first.cancel()
        assert await offloop.sha256(DATA) == DIGEST
        await idle()


async def test_a_timeout_ends_it() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await spin(LONG_S)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(spin(LONG_S), 0.01)
    await idle()


async def test_dropping_it_ends_it() -> None:
    spin(LONG_S)
    await idle()


async def test_it_waits_for_a_slot_and_may_run_inline() -> None:
    with settings(max_pending=1), Gate() as gate:
        gated = gate.operation()
        parked = spin(0)
        assert offloop.stats()["parked"] == 1
        offloop.configure(when_full="inline")
        assert spin(0).done()
        gate.open()
        assert await parked is None
        await gated


@pytest.mark.parametrize("wrong", [-1, -0.001, math.nan, math.inf, 86_401, 10**400])
def test_seconds_out_of_range_are_a_value_error(wrong: float) -> None:
    with pytest.raises(ValueError, match="seconds must be between 0 and 86400"):
        spin(wrong)


@pytest.mark.parametrize("wrong", ["1", None, True, b"1", [1], 1j])
def test_seconds_of_the_wrong_type_are_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"seconds must be a number, not {type(wrong).__name__}"):
        spin(wrong)


@pytest.mark.parametrize("wrong", [0, 1, "yes", None])
def test_cooperative_of_the_wrong_type_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"cooperative must be a bool, not {type(wrong).__name__}"):
        spin(1, cooperative=wrong)
