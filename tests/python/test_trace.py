"""offloop.trace(): every operation once, with its names and times; bounded; nothing while it is off."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import DATA, Gate, assert_clean, run_program, settings, until
from conftest import LOOP_KINDS, TASK_KINDS

import offloop
from offloop import hashing, image
from offloop.fetch import Fetcher
from offloop.testing import Origin, spin

FORK_OPTIONS = ("-W", "ignore::DeprecationWarning")  # since 3.12 fork() warns of threads, whatever they do

PHASES = {"M", "X", "b", "e", "s", "t", "f"}


def saved(trace: Any, folder: Path) -> dict[str, Any]:
    path = folder / "trace.json"
    trace.save(path)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def slices(document: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    return [event for event in document["traceEvents"] if event["ph"] == "X" and event["name"].startswith(prefix)]


def tracks(document: dict[str, Any]) -> dict[int, str]:
    return {event["tid"]: event["args"]["name"] for event in document["traceEvents"] if event["name"] == "thread_name"}


# Before 3.14 asyncio names a task after it was made, and an eager one runs while it is made.
NAMED_IN_TIME = pytest.mark.loops(
    *LOOP_KINDS, *(kind for kind in TASK_KINDS if kind != "eager" or sys.version_info >= (3, 14))
)


async def upload(number: int) -> str:
    return await offloop.sha256(DATA + bytes([number]))


async def hash_twenty() -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(upload(number), name=f"upload {number}")


@NAMED_IN_TIME
async def test_every_operation_is_there_once_with_its_phases_and_names(tmp_path: Path) -> None:
    with offloop.trace() as trace:
        await hash_twenty()
    document = saved(trace, tmp_path)
    assert trace.seen == document["otherData"]["recorded"] == 20
    for prefix in ("submit sha256", "sha256", "deliver sha256"):
        found = slices(document, prefix)
        assert len(found) == 20, prefix
        assert {event["args"]["task"] for event in found} == {f"upload {number}" for number in range(20)}
        assert {event["args"]["outcome"] for event in found} == {"value"}
    counted = Counter((event["ph"], event.get("id")) for event in document["traceEvents"] if "id" in event)
    assert len({number for _, number in counted}) == 20
    for (phase, number), count in counted.items():
        assert count == (2 if phase in "be" else 1), (phase, number)  # the operation and its time in the queue


async def test_the_events_have_the_form_that_viewers_read(tmp_path: Path) -> None:
    with offloop.trace() as trace:
        await hash_twenty()
        await offloop.sha256(b"small: on the loop at once")
    document = saved(trace, tmp_path)
    events = document["traceEvents"]
    assert {event["ph"] for event in events} == PHASES
    assert {event["pid"] for event in events} == {os.getpid()}
    timed = [event for event in events if event["ph"] != "M"]
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    assert all(isinstance(event["tid"], int) and event["ts"] >= 0 for event in timed)
    assert all(event["dur"] >= 0 for event in timed if event["ph"] == "X")
    assert {event["tid"] for event in timed} == set(tracks(document))


async def test_phases_follow_each_other_on_the_tracks_of_loop_and_workers(tmp_path: Path) -> None:
    with offloop.trace() as trace:
        await hash_twenty()
    document = saved(trace, tmp_path)
    names = tracks(document)
    by_operation: dict[int, dict[str, dict[str, Any]]] = {}
    for event in slices(document, ""):
        by_operation.setdefault(event["args"]["operation"], {})[event["name"].split()[0]] = event
    for phases in by_operation.values():
        submit, run, deliver = phases["submit"], phases["sha256"], phases["deliver"]
        assert submit["ts"] <= run["ts"] <= run["ts"] + run["dur"] <= deliver["ts"]
        assert submit["tid"] == deliver["tid"] == threading.get_native_id()
        assert names[submit["tid"]] == f"loop in {threading.current_thread().name}"
        assert names[run["tid"]].startswith("offloop-w")
    # Works of one worker overlap in its lanes, slices of one track must not.
    ends: dict[int, float] = {}
    for event in sorted((phases["sha256"] for phases in by_operation.values()), key=lambda event: event["ts"]):
        assert event["ts"] >= ends.get(event["tid"], 0.0) - 0.001
        ends[event["tid"]] = event["ts"] + event["dur"]


async def test_small_ones_are_marked_as_inline(tmp_path: Path) -> None:
    with offloop.trace() as trace:
        await offloop.sha256(b"small")
    (operation,) = trace.operations()
    assert operation.outcome == "inline"
    assert operation.called_ns <= operation.returned_ns
    (event,) = (event for event in saved(trace, tmp_path)["traceEvents"] if event["ph"] != "M")
    assert (event["ph"], event["name"]) == ("X", "sha256")


async def test_a_transfer_is_there_with_its_time_in_the_queue(origin: Origin, tmp_path: Path) -> None:
    async with offloop.Fetcher(max_concurrent=1) as fetcher:
        with offloop.trace() as trace:
            await asyncio.gather(
                *(fetcher.get(origin.url("/bytes/1000")) for _ in range(2)), fetcher.hash(origin.url("/bytes/1000"))
            )
    operations = trace.operations()
    assert len(operations) == 3
    for operation in operations:
        assert operation.worker == 0
        assert operation.called_ns <= operation.submitted_ns <= operation.started_ns <= operation.ended_ns
        assert operation.ended_ns <= operation.delivered_ns <= operation.woken_ns
    assert operations[1].started_ns > operations[1].submitted_ns
    document = saved(trace, tmp_path)
    assert {name for name in tracks(document).values() if name.startswith("offloop")} >= {"offloop transfers and files"}


def assert_in_order(operation: Any) -> None:
    times = [
        operation.called_ns,
        operation.submitted_ns,
        operation.started_ns,
        operation.ended_ns,
        operation.delivered_ns,
    ]
    assert all(times), operation
    assert times == sorted(times), operation


async def test_a_picture_tells_when_a_worker_took_it_up(origin: Origin, tmp_path: Path) -> None:
    data = await offloop.fetch_url(origin.url("/image.png"))
    file = tmp_path / "a.png"
    file.write_bytes(data)
    with settings(threads=1), offloop.trace() as trace:
        held = spin(60)
        await until(lambda: offloop.stats()["running"] == 1)
        waiting = [
            image.resize(data, 8),
            image.resize(file, 8),
            image.info(data),
            image.info(file),
            image.sheet([file], cell=16),
        ]
        let_go = time.monotonic_ns()
        held.cancel()
        await asyncio.gather(*waiting)
    document = saved(trace, tmp_path)
    runs = {run["args"]["operation"]: run for name in ("resize", "info", "sheet") for run in slices(document, name)}
    pictures = [operation for operation in trace.operations() if operation.name != "spin"]
    assert [operation.name for operation in pictures] == ["resize", "resize", "info", "info", "sheet"]
    for operation in pictures:
        assert_in_order(operation)
        assert operation.submitted_ns <= let_go <= operation.started_ns  # in the queue until then
        run = runs[operation.number]
        assert run["args"]["queue_us"] == (operation.started_ns - operation.submitted_ns) / 1000
        assert run["args"]["run_us"] == (operation.ended_ns - operation.started_ns) / 1000
    assert {tracks(document)[run["tid"]] for run in runs.values()} == {"offloop-w0"}


async def test_a_picture_of_a_url_runs_from_the_start_of_its_transfer(origin: Origin, tmp_path: Path) -> None:
    with offloop.trace() as trace:
        await asyncio.gather(*(image.resize(origin.url(f"/image.png?{number}"), 8) for number in range(3)))
    assert len(trace.operations()) == 3
    for operation in trace.operations():
        assert_in_order(operation)
        assert operation.worker == 0
    document = saved(trace, tmp_path)
    rows = {tracks(document)[run["tid"]].partition(",")[0] for run in slices(document, "resize")}
    assert rows == {"offloop transfers and files"}


async def test_a_transfer_tells_when_it_got_a_free_place_however_it_ends(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher(max_concurrent=1) as fetcher:
        with offloop.trace() as trace:
            held = fetcher.get(origin.url("/hang"))
            await until(lambda: fetcher.stats()["running"] == 1)
            shrink = image.Pipeline().resize(width=8).to()
            waiting = [
                fetcher.get(origin.url("/status/404")),
                fetcher.hash("http://127.0.0.1:1/"),
                fetcher.stream(origin.url("/status/404"), tmp_path / "body"),
                fetcher.stream(origin.url("/status/404"), lambda chunk: None),
                shrink.run(origin.url("/status/404"), fetcher=fetcher),
            ]
            given_up = fetcher.get(origin.url("/bytes/10"))
            given_up.cancel()
            await until(lambda: fetcher.stats()["queued"] == len(waiting))
            let_go = time.monotonic_ns()
            held.cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            await until(lambda: fetcher.stats()["running"] == 0)
            await asyncio.sleep(0)
    assert all(isinstance(outcome, offloop.FetchError) for outcome in outcomes)
    first, *failed, cancelled = trace.operations()
    assert (first.outcome, cancelled.outcome) == ("cancelled", "cancelled")
    assert_in_order(first)
    for operation in failed:
        assert operation.outcome == "error"
        assert_in_order(operation)
        assert operation.submitted_ns <= let_go <= operation.started_ns  # in the queue until then
    assert cancelled.started_ns == 0
    document = saved(trace, tmp_path)
    rows = tracks(document)
    runs = {
        run["args"]["operation"] for run in slices(document, "") if rows[run["tid"]].startswith("offloop transfers")
    }
    assert runs == {operation.number for operation in (first, *failed)}


async def test_a_file_tells_when_a_reader_took_it_up(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(DATA)
    with offloop.trace() as trace:
        await hashing.file_digest(file)
        with pytest.raises(FileNotFoundError):
            await hashing.file_digest(tmp_path / "missing")
    assert [operation.outcome for operation in trace.operations()] == ["value", "error"]
    for operation in trace.operations():
        assert_in_order(operation)
    runs = slices(saved(trace, tmp_path), "file_digest")
    assert len(runs) == 2
    assert all({"queue_us", "run_us", "deliver_us"} <= run["args"].keys() for run in runs)


async def test_a_list_of_urls_begins_at_once(origin: Origin) -> None:
    with offloop.trace() as trace:
        await offloop.fetch_and_hash_urls([origin.url("/bytes/1000")])
    (operation,) = trace.operations()
    assert_in_order(operation)
    assert operation.started_ns == operation.submitted_ns


async def test_what_was_cancelled_in_the_queue_never_ran(tmp_path: Path) -> None:
    with settings(threads=1), offloop.trace() as trace:
        held = spin(60)
        await until(lambda: offloop.stats()["running"] == 1)
        waiting = [offloop.sha256(DATA), image.info(DATA)]
        waiting[0].cancel()
        held.cancel()
        with pytest.raises(offloop.UnsupportedFormatError):
            await waiting[1]
        await until(lambda: offloop.stats()["queued"] == 0 and offloop.stats()["running"] == 0)
        await asyncio.sleep(0)
    cancelled = next(operation for operation in trace.operations() if operation.name == "sha256")
    assert (cancelled.outcome, cancelled.started_ns) == ("cancelled", 0)
    assert not slices(saved(trace, tmp_path), "sha256")


async def test_how_an_operation_ended_is_told(tmp_path: Path) -> None:
    with offloop.trace() as trace, Gate() as gate, settings(max_pending=1):
        held = gate.operation()
        parked = offloop.sha256(DATA)
        parked.cancel()
        failing = hashing.file_digest(tmp_path / "missing")
        assert trace.operations()[0].outcome == "pending"
        gate.open()
        await held
        with pytest.raises(FileNotFoundError):
            await failing
        await until(lambda: offloop.stats()["parked"] == 0)
    ended = Counter((operation.name, operation.outcome) for operation in trace.operations())
    assert ended == {("file_hexdigest", "value"): 1, ("sha256", "cancelled"): 1, ("file_digest", "error"): 1}
    assert len(slices(saved(trace, tmp_path), "deliver file_digest")) == 1


async def test_waiting_for_a_slot_is_told(tmp_path: Path) -> None:
    with offloop.trace() as trace, Gate() as gate, settings(max_pending=1):
        held, parked = gate.operation(), offloop.sha256(DATA)
        waited_from = time.monotonic_ns()
        await asyncio.sleep(0)
        waited_to = time.monotonic_ns()
        gate.open()
        await asyncio.gather(held, parked)
    operation = next(one for one in trace.operations() if one.name == "sha256")
    assert operation.returned_ns <= waited_from <= waited_to <= operation.submitted_ns
    args = slices(saved(trace, tmp_path), "submit sha256")[0]["args"]
    assert args["parked_us"] >= (waited_to - waited_from) / 1000


@NAMED_IN_TIME
async def test_the_task_that_awaits_it_gives_its_name_not_the_one_that_starts_it() -> None:
    with offloop.trace() as trace, Gate() as gate:
        task = asyncio.create_task(gate.operation(), name="awaits")
        await asyncio.sleep(0)
        gate.open()
        await task
    assert [operation.task for operation in trace.operations()] == ["awaits"]


async def test_a_second_trace_is_refused_until_the_first_has_ended() -> None:
    first = offloop.trace()
    with pytest.raises(RuntimeError, match="another trace is running"):
        offloop.trace()
    await offloop.sha256(DATA)
    first.stop()
    with offloop.trace() as second:
        await offloop.sha256(DATA)
    assert (first.seen, second.seen) == (1, 1)


async def test_one_that_is_dropped_ends() -> None:
    offloop.trace()
    gc.collect()
    with offloop.trace():
        pass


async def test_memory_is_bounded_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    with offloop.trace(capacity=8) as trace:
        for _ in range(5):
            await hash_twenty()
    assert (trace.seen, trace.dropped, len(trace.operations())) == (100, 92, 8)
    numbers = [operation.number for operation in trace.operations()]
    assert numbers == list(range(numbers[0], numbers[0] + 8))  # the newest
    assert saved(trace, tmp_path)["otherData"]["dropped"] == 92


async def test_a_sample_is_a_share_of_the_operations() -> None:
    with offloop.trace(sample=0.1) as trace:
        for number in range(3000):
            await offloop.sha256(number.to_bytes(2, "big"))
    assert trace.seen == 3000
    assert 150 < len(trace.operations()) < 500


async def test_nothing_is_recorded_and_nothing_is_larger_while_it_is_off() -> None:
    before = offloop.Operation.__basicsize__
    operation = offloop.sha256(DATA)
    with offloop.trace() as trace:
        await operation  # started before the trace
        assert type(operation).__basicsize__ == before
    await offloop.sha256(DATA)  # after it
    assert (trace.seen, trace.operations()) == (0, [])


async def test_what_ends_after_the_trace_leaves_it_as_it_was() -> None:
    with Gate() as gate:
        with offloop.trace() as trace:
            operation = gate.operation()
        gate.open()
        await operation
        with offloop.trace() as later:
            pass
        assert [one.outcome for one in trace.operations()] == ["pending"]
        assert later.operations() == []


@NAMED_IN_TIME
async def test_one_made_without_a_loop_is_recorded_from_its_first_await() -> None:
    operation = await asyncio.to_thread(offloop.sha256, DATA)
    with offloop.trace() as trace:
        await asyncio.create_task(operation, name="late")
    assert [(one.name, one.task, one.outcome) for one in trace.operations()] == [("sha256", "late", "value")]


@pytest.mark.loops("asyncio")
async def test_two_loops_in_two_threads_are_two_tracks(tmp_path: Path) -> None:
    with offloop.trace() as trace:
        threads = [threading.Thread(target=asyncio.run, args=(hash_twenty(),), name=f"server {n}") for n in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.001)
    assert len(trace.operations()) == 40
    assert Counter(operation.thread for operation in trace.operations()).most_common(1)[0][1] == 20
    assert len({operation.loop for operation in trace.operations()}) == 2
    assert len({event["tid"] for event in slices(saved(trace, tmp_path), "deliver")}) == 2


async def test_the_block_writes_its_file_compressed_on_request(tmp_path: Path) -> None:
    with offloop.trace(tmp_path / "trace.json.gz"):
        await hash_twenty()
    with gzip.open(tmp_path / "trace.json.gz", "rt") as file:
        assert len(slices(json.load(file), "submit")) == 20


async def test_a_block_that_fails_writes_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), offloop.trace(tmp_path / "trace.json"):
        await offloop.sha256(DATA)
        raise KeyError
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"]["recorded"] == 1


@pytest.mark.parametrize("sample", [0, -1, 1.5, float("nan")])
def test_a_sample_out_of_range_is_refused(sample: float) -> None:
    with pytest.raises(ValueError, match="sample must be above 0"):
        offloop.trace(sample=sample)


@pytest.mark.parametrize(("capacity", "error"), [(0, ValueError), (2**24 + 1, ValueError), (1.5, TypeError)])
def test_a_capacity_out_of_range_is_refused(capacity: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="capacity must be"):
        offloop.trace(capacity=capacity)


def test_a_forked_child_leaves_its_parents_trace(tmp_path: Path) -> None:
    assert_clean(run_program("trace_in_child", tmp_path / "trace.json", options=FORK_OPTIONS))
