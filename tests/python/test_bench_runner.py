"""How `offloop bench` treats contenders: checked first, in turn, never fast when wrong, readable when interrupted."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from bench_helpers import ANSWERS, Scripted, case_of, right, scripted

from offloop.bench import document, model, open_loop, scaling
from offloop.bench import plan as plans
from offloop.bench.document import CaseDict, ContenderDict
from offloop.bench.machine import Noise
from offloop.bench.model import Case, Contender, Missing
from offloop.bench.on_loop import Heartbeat, each, on_loop, together
from offloop.bench.plan import Plan
from offloop.bench.processes import Memory, cpu_seconds
from offloop.bench.runner import CaseRun, Effort
from offloop.bench.session import Session
from offloop.bench.tasks import fetch
from offloop.bench.tasks import hash as hashing
from offloop.bench.tasks.hash.process_pool import interrupts_wait

EFFORT = Effort(warm_ups=2, repeats=3, probes=1, seed=1)


def measured(case: Case, effort: Effort = EFFORT) -> CaseDict:
    run = CaseRun(case, effort, Noise())
    run.run()
    return run.document()


def row(case: CaseDict, name: str) -> ContenderDict:
    return next(row for row in case["contenders"] if row["name"] == name)


def test_every_contender_does_its_rounds_and_gets_its_figures() -> None:
    fast, slow = Scripted(right, 0.1), Scripted(right, 0.3)
    case = measured(case_of([scripted("slow", slow, classic=True), scripted("fast", fast, "hybrid", classic=True)]))
    assert (fast.rounds, slow.rounds) == (6, 6)
    assert fast.closed
    assert slow.closed
    assert case["complete"]
    found = row(case, "fast")
    assert found["status"] == "ok"
    assert found["seconds"] == [0.1] * 3
    assert found["items_per_second"] == pytest.approx(20)
    assert found["gb_per_second"] == pytest.approx(20 * 1000 / 1e9)
    assert found["latency"] is not None
    assert (found["latency"]["p50"], found["latency"]["items"]) == (pytest.approx(0.0015), 2)
    assert found["stall"] is not None
    assert found["stall"]["longest"] == 0.003
    assert [speedup["ratio"]["median"] for speedup in case["speedups"]] == pytest.approx([3.0, 3.0])


def test_the_order_is_shuffled_anew_each_round_and_the_same_for_a_seed() -> None:
    def order(seed: int) -> list[str]:
        seen: list[str] = []

        def noting(name: str) -> Scripted:
            def answer(number: int) -> Sequence[Any]:
                seen.append(name)
                return ANSWERS

            return Scripted(answer)

        names = [scripted(name, noting(name)) for name in "abcd"]
        measured(case_of(names), Effort(warm_ups=1, repeats=5, probes=0, seed=seed))
        return seen

    first = order(1)
    rounds = [tuple(first[start : start + 4]) for start in range(0, len(first), 4)]
    assert all(sorted(one) == ["a", "b", "c", "d"] for one in rounds)
    assert len(set(rounds)) > 2
    assert order(1) == first
    assert order(2) != first


@pytest.mark.parametrize("first_wrong_round", [1, 3, 6])
def test_a_wrong_answer_is_shown_as_wrong_whenever_it_comes(first_wrong_round: int) -> None:
    liar = Scripted(lambda number: ["right", "wrong"] if number >= first_wrong_round else ANSWERS, 0.001)
    honest = scripted("honest", Scripted(right), classic=True)
    case = measured(case_of([scripted("liar", liar, "hybrid", classic=True), honest]))
    found = row(case, "liar")
    assert found["status"] == "wrong"
    assert found["detail"] == "answer 1 is 'wrong', expected 'right, too'"
    assert (found["seconds"], found["time"], found["items_per_second"], found["latency"]) == ([], None, None, None)
    assert case["speedups"] == []
    assert liar.rounds == first_wrong_round  # it does not go on
    assert row(case, "honest")["status"] == "ok"


@pytest.mark.parametrize("answers", [[], ["right"], ["right", "right, too", "one more"]])
def test_too_few_and_too_many_answers_are_wrong(answers: list[str]) -> None:
    case = measured(case_of([scripted("odd", Scripted(lambda number: answers))]))
    assert row(case, "odd")["status"] == "wrong"
    assert row(case, "odd")["detail"] == f"gave {len(answers)} answers, expected 2"


def test_answers_that_cannot_be_compared_are_not_right() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    case = measured(case_of([scripted("odd", Scripted(lambda number: [Odd(), Odd()]))]))
    assert row(case, "odd")["detail"] == "answer 0 cannot be compared: ValueError: ambiguous"


def test_who_is_missing_or_fails_does_not_stop_the_others() -> None:
    def fails(number: int) -> Sequence[str]:
        if number == 4:
            raise ExceptionGroup("several", [OSError("the disk is full")])
        return ANSWERS

    contenders = [
        scripted("gap", Missing("it is not installed")),
        scripted("broken", RuntimeError("no luck\nat all")),
        scripted("breaks later", Scripted(fails)),
        scripted("fine", Scripted(right)),
    ]
    case = measured(case_of(contenders))
    told = {row["name"]: (row["status"], row["detail"], row["time"] is None) for row in case["contenders"]}
    assert told == {
        "gap": ("missing", "it is not installed", True),
        "broken": ("failed", "RuntimeError: no luck", True),
        "breaks later": ("failed", "OSError: the disk is full", True),
        "fine": ("ok", "", False),
    }


def test_a_contender_that_hangs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "ROUND_SECONDS", 0.05)

    async def hangs(item: str) -> str:
        await asyncio.Event().wait()
        return item

    hanging = Contender("hangs", "asyncio", "", lambda work: on_loop(each(hangs, ANSWERS), 1))
    case = measured(case_of([hanging, scripted("fine", Scripted(right))]))
    assert (row(case, "hangs")["status"], row(case, "hangs")["detail"]) == ("failed", "TimeoutError")
    assert row(case, "fine")["status"] == "ok"


# ---- interrupted -----------------------------------------------------------------------------------------------------


def test_an_interrupt_leaves_what_was_measured_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def interrupts(number: int) -> Sequence[str]:
        if number == 4:
            raise KeyboardInterrupt
        return ANSWERS

    def cases(plan: Plan) -> Iterator[Case]:
        try:
            yield case_of([scripted("a", Scripted(right))], "first")
            yield case_of([scripted("b", Scripted(interrupts))], "second")
            yield case_of([scripted("c", Scripted(right))], "third")
        finally:
            closed.append("the origin")

    monkeypatch.setattr(plans, "cases", cases)
    session = Session(Plan(quick=False, tasks=["small"], repeats=5), tmp_path)
    shown: list[str] = []
    session.run(lambda words: None, lambda case: shown.append(case["name"]))
    assert closed == ["the origin"]
    assert shown == ["first"]
    found = document.read(tmp_path)
    fastjsonschema.compile(json.loads(document.SCHEMA.read_text()))(found)
    assert (found["complete"], found["interrupted"]) == (False, True)
    assert [(case["name"], case["complete"]) for case in found["cases"]] == [("first", True), ("second", False)]
    second = found["cases"][1]["contenders"][0]
    # Three warm-ups, the interrupt in the first timed round: nothing that counts.
    assert (second["status"], second["time"]) == ("unmeasured", None)
    assert found["sentences"][0] == "The run was interrupted after it had begun 2 cases; the last is not complete."


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_waits_for_the_end_of_the_block_and_is_not_lost(fails: bool) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        signal.raise_signal(signal.SIGINT)  # to this thread: the process's may go to another one, and take its time
        done.append("the rest")
        if fails:
            raise OSError("whatever comes of it")
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_results_are_written_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    session = Session(Plan(quick=True, tasks=["small"]), tmp_path / "file" / "folder")
    with pytest.raises(OSError, match="file"):
        session.run(lambda words: None, lambda case: None)
    assert session.document["cases"] == []


# ---- on a loop -------------------------------------------------------------------------------------------------------


async def upper(item: str) -> str:
    await asyncio.sleep(0)
    return item.upper()


async def upper_all(items: Sequence[str]) -> list[str]:
    return [await upper(item) for item in items]


@pytest.mark.parametrize("burst", [each(upper, "abc"), each(upper, "abc", 2), together(upper_all, "abc")])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_bursts_answer_in_the_order_of_the_items(burst: Any, kind: str) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    with on_loop(burst, 2, kind=kind) as running:
        plain, probed = running.round(False), running.round(True)
    assert [list(answers) for answers in plain.bursts] == [["A", "B", "C"]] * 2
    assert (plain.latencies, plain.stalls) == ([], [])
    assert len(probed.latencies) == 6
    assert all(0 < latency <= probed.seconds for latency in probed.latencies)
    assert probed.stalls


def test_at_most_so_many_are_under_way_at_once() -> None:
    running = most = 0

    async def one(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return item

    with on_loop(each(one, range(20), 3), 1) as ready:
        assert list(ready.round(False).bursts[0]) == list(range(20))
    assert most == 3


@pytest.mark.loops("asyncio")
async def test_a_stall_counts_for_every_look_that_it_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("offloop.bench.on_loop.time.perf_counter", lambda: now)
    heart = Heartbeat()
    now = 100.001 + 0.0105  # it was due after 1 ms and comes 10.5 ms late
    heart._beat()
    late = heart.stop()
    assert len(late) == 11
    assert late[0] == pytest.approx(0.0105)
    assert late[-1] == pytest.approx(0.0005)


# ---- the open loop ---------------------------------------------------------------------------------------------------


def test_arrivals_are_constant_or_poisson_and_seeded() -> None:
    constant = list(open_loop.schedule(100, 1, "constant", 1))
    assert len(constant) == 99
    assert constant[:2] == [pytest.approx(0.01), pytest.approx(0.02)]
    poisson = list(open_loop.schedule(1000, 5, "poisson", 1))
    assert poisson == list(open_loop.schedule(1000, 5, "poisson", 1)) != list(open_loop.schedule(1000, 5, "poisson", 2))
    assert 4600 < len(poisson) < 5400
    gaps = [b - a for a, b in itertools.pairwise(poisson)]
    assert 0.3 < sum(gap < 0.0005 for gap in gaps) / len(gaps) < 0.5  # 1 - exp(-1/2) = 0.39


@pytest.mark.loops("asyncio")
async def test_in_the_open_loop_latency_counts_from_the_intended_start() -> None:
    """One at a time, each taking five times the gap: the fourth one starts 4 x 8 ms late, and that is its latency."""
    lock = asyncio.Lock()

    async def one(item: int) -> int:
        async with lock:
            await asyncio.sleep(0.01)
        return item

    work = each(one, [0, 1, 2, 3])
    served = await open_loop.serve(work, [0, 1, 2, 3], iter([0.002, 0.004, 0.006, 0.008]))
    assert (served.offered, served.wrong, served.failed, served.unfinished) == (4, 0, 0, 0)
    assert served.most_in_flight > 1
    assert max(served.latencies) >= 0.04 - 0.008


@pytest.mark.loops("asyncio")
async def test_the_open_loop_counts_wrong_failed_and_unfinished_apart() -> None:
    never = asyncio.Event()

    async def one(item: str) -> str:
        if item == "raises":
            raise OSError(item)
        if item == "hangs":
            await never.wait()
        return item

    items = ["right", "wrong", "raises", "hangs"]
    served = await open_loop.serve(each(one, items), ["right", "?", "", ""], iter([0, 0, 0, 0]), drain=0.05)
    assert (served.offered, len(served.latencies), served.wrong, served.failed, served.unfinished) == (4, 1, 1, 1, 1)


# ---- what the tasks stand on -----------------------------------------------------------------------------------------


def test_without_nginx_the_embedded_origin_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "find_nginx", lambda: None)
    cases = fetch.table([1000, 5000], quick=True, seed=1, at_once=4)
    for case in cases:
        assert case.name.endswith("from the embedded origin")
        hybrid = [one for one in case.contenders if one.name == "offloop, await each"]
        found = measured(replace(case, contenders=hybrid), Effort(warm_ups=1, repeats=1, probes=0, seed=1))
        assert [row["status"] for row in found["contenders"]] == ["ok"]


def test_a_seed_gives_the_same_payloads_and_another_one_others() -> None:
    def data(seed: int) -> list[bytes]:
        work = hashing.mixed(quick=True, seed=seed, at_once=None).work
        return [*work.payloads, *hashing.payloads(3, 1000, seed)]

    assert data(1) == data(1) != data(2)
    assert len(set(hashing.payloads(300, 1, 1))) == 256  # as different as they can be
    names = [hashing.size_name(size) for size in (1, 999, 1000, 4096, 1500, 10_000_000)]
    assert names == ["1 B", "999 B", "1 KB", "4096 B", "1.5 KB", "10 MB"]


def test_scaling_measures_every_number_of_threads() -> None:
    (row,) = scaling.measure(repeats=1, seed=1, say=lambda words: None, most=1)
    assert row["threads"] == 1
    assert set(row["gb_per_second"]) == {"offloop", "ThreadPoolExecutor", "inline"}
    assert all(rate > 0 for rate in row["gb_per_second"].values())


def test_a_scaling_process_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="scaling, 1 threads: exit code 1, no words"):
        scaling.measure(repeats=1, seed=1, say=lambda words: None, most=1)


# ---- what is counted -------------------------------------------------------------------------------------------------


def test_memory_that_a_round_adds_is_seen_and_what_was_there_is_not() -> None:
    before = bytearray(32_000_000)
    memory = Memory()
    memory.begin()
    held = bytearray(b"x") * 64_000_000
    grown = memory.grown()
    assert grown is not None
    assert 40_000_000 < grown < 200_000_000
    del held, before


def test_cpu_of_a_helper_counts_and_of_one_that_has_gone_not() -> None:
    import subprocess
    import sys

    program = "import sys; sum(range(10**6)); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdout is not None
        helper.stdout.readline()
        assert cpu_seconds([helper.pid], own=False) > 0.001
        assert helper.stdin is not None
        helper.stdin.close()
        helper.wait()
    assert cpu_seconds([helper.pid], own=False) == 0
