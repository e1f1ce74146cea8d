"""offloop.stats() and offloop.configure(): what they say is so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, Gate, assert_clean, published, run_program, settings, until

import offloop
from offloop import hashing

COUNTS = {
    "threads", "sleeping", "in_flight", "parked", "queued", "running", "done", "stopped", "failed", "inlined", "bytes",
    "quanta", "wakes", "drains",
}  # fmt: skip
HISTOGRAMS = {"queue_ns", "run_ns", "deliver_ns"}


async def quiet() -> None:
    await until(lambda: not any(offloop.stats()[name] for name in ("in_flight", "running", "queued")))


async def test_stats_has_every_documented_counter() -> None:
    stats = offloop.stats()
    assert set(stats) == COUNTS | HISTOGRAMS | {"lane_fill"}
    assert all(isinstance(stats[name], int) and stats[name] >= 0 for name in COUNTS)
    assert isinstance(stats["lane_fill"], float)
    for name in HISTOGRAMS:
        assert len(stats[name]) == 40
        assert all(isinstance(count, int) for count in stats[name])
    assert offloop.stats.__doc__ is not None
    for name in stats:
        assert f"``{name}``" in offloop.stats.__doc__


async def test_done_counts_operations_and_bytes() -> None:
    await quiet()
    before = offloop.stats()
    await asyncio.gather(*(offloop.sha256(bytearray(DATA)) for _ in range(10)))
    await quiet()
    after = offloop.stats()
    assert after["done"] - before["done"] == 10
    assert 0 <= after["bytes"] - before["bytes"] - 10 * len(DATA) <= 10 * 128  # and the padding
    assert after["quanta"] > before["quanta"]
    assert after["drains"] > before["drains"]
    assert after["lane_fill"] >= 1
    for name in HISTOGRAMS:
        assert sum(after[name]) - sum(before[name]) == 10, name


async def test_stopped_counts_what_was_cancelled() -> None:
    await quiet()
    before = offloop.stats()
    operations = [hashing.digest(bytes(4_000_000), "sha3_512") for _ in range(20)]
    cancelled = sum(operation.cancel() for operation in operations)
    await quiet()
    after = offloop.stats()
    assert cancelled > 0
    assert after["stopped"] - before["stopped"] == cancelled
    assert after["done"] - before["done"] == 20 - cancelled


async def test_in_flight_counts_until_delivery_and_not_longer() -> None:
    await quiet()
    operations = published(count=5)
    assert offloop.stats()["in_flight"] == 5
    await asyncio.gather(*operations)
    assert offloop.stats()["in_flight"] == 0


async def test_parked_counts_who_waits_for_a_slot() -> None:
    with settings(max_pending=1), Gate() as gate:
        first = gate.operation()
        others = [offloop.sha256(DATA) for _ in range(4)]
        stats = offloop.stats()
        assert (stats["in_flight"], stats["parked"]) == (1, 4)
        gate.open()
        assert await asyncio.gather(*others) == [DIGEST] * 4
        await first
        stats = offloop.stats()
        assert (stats["in_flight"], stats["parked"]) == (0, 0)


async def test_inlined_counts_what_ran_on_the_loop() -> None:
    before = offloop.stats()["inlined"]
    await offloop.sha256(b"tiny")
    assert offloop.stats()["inlined"] == before + 1


def test_stats_before_any_use_starts_nothing() -> None:
    assert_clean(run_program("imports", "stats"))


# ---- configure -------------------------------------------------------------------------------------------------------


def test_configure_returns_the_settings_in_force() -> None:
    before = offloop.configure()
    assert set(before) == {"threads", "max_pending", "when_full"}
    with settings(max_pending=17, when_full="raise"):
        assert offloop.configure() == {**before, "max_pending": 17, "when_full": "raise"}
        with settings(when_full="inline"):
            assert offloop.configure()["max_pending"] == 17
    assert offloop.configure() == before


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"threads": 0}, ValueError),
        ({"threads": -1}, ValueError),
        ({"threads": 1025}, ValueError),
        ({"threads": True}, TypeError),
        ({"threads": "2"}, TypeError),
        ({"threads": 2.0}, TypeError),
        ({"max_pending": 0}, ValueError),
        ({"max_pending": 2**31}, ValueError),
        ({"max_pending": None, "when_full": "sometimes"}, ValueError),
        ({"when_full": ""}, ValueError),
        ({"max_pending": "many"}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_a_bad_setting_is_refused_and_changes_nothing(setting: dict[str, Any], error: type[Exception]) -> None:
    before = offloop.configure()
    with pytest.raises(error, match=next(name for name in setting if setting[name] is not None)):
        offloop.configure(**setting)
    assert offloop.configure() == before


def test_configure_before_first_use_sets_the_pool() -> None:
    assert_clean(run_program("imports", "configure"))


def test_max_pending_follows_the_threads_unless_it_was_set() -> None:
    assert_clean(run_program("imports", "default_limit", env={"OFFLOOP_THREADS": "3"}))
