"""Exit, fork, signals, closed loops, threads, with work queued and running, in processes of their own.

Each ends as defined, without a hang, a leak or a lost operation.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import PROGRAMS, assert_clean, run_program, until

import offloop
from offloop import hashing

# A program that ends within 2 s of its own work did not wait for the gigabytes in flight, which take tens of seconds.
SOON_S = 10.0

# Since 3.12 fork() warns of threads, whatever they do.
FORK_OPTIONS = ("-W", "ignore::DeprecationWarning")


def functions(program: str, but: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """The scenarios of a program: its functions without arguments that have nothing private."""
    text = (PROGRAMS / f"{program}.py").read_text()
    return [name for name in re.findall(r"^def (\w+)\(\) -> None:", text, re.MULTILINE) if name not in but]


# ---- exit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", functions("exits", {"say_ok"}))
def test_the_process_ends_soon_and_silently_with_work_in_flight(scenario: str) -> None:
    started = time.monotonic()
    ended = run_program("exits", scenario)
    assert_clean(ended)
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("scenario", ["after_run", "after_run_cancelled", "daemon_thread_batches"])
def test_the_process_ends_soon_with_one_worker_too(scenario: str) -> None:
    assert_clean(run_program("exits", scenario, env={"OFFLOOP_THREADS": "1"}))


@pytest.mark.parametrize("cooperative", ["eight_spins", "eight_uncooperative_spins"])
def test_the_interpreter_exits_within_a_second_with_eight_ten_second_operations_running(
    cooperative: str, tmp_path: Path
) -> None:
    """Once in three: eight threads that burn CPU time may delay any program. Where the machine has much else to do, it
    is enough that nobody waits for the ten seconds."""
    took = []
    limit_s = 1.0 if os.getloadavg()[0] <= 2 * (os.cpu_count() or 1) else 5.0
    for turn in range(3):
        said = tmp_path / str(turn)
        assert_clean(run_program("exits", cooperative, said))
        took.append(time.monotonic() - float(said.read_text()))
        if took[-1] < limit_s:
            return
    pytest.fail(f"took {took} s from the program's last word to its end")


def test_an_exception_in_the_programs_own_exit_handler_is_all_that_is_said() -> None:
    ended = run_program("exits_with_error")
    assert (ended.returncode, ended.stdout) == (0, "ok\n")
    assert ended.stderr.count("Traceback") == 1
    assert ended.stderr.rstrip().endswith("ZeroDivisionError: the handler's own")


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("scenario", ["daemon_thread_computes", "daemon_thread_batches", "daemon_thread_loop"])
def test_a_daemon_thread_inside_offloop_at_exit_never_crashes(scenario: str, turn: int) -> None:
    assert_clean(run_program("exits", scenario))


@pytest.mark.parametrize("use", ["unused", "used"])
def test_after_shutdown_a_submit_raises_pool_closed_error(use: str) -> None:
    assert_clean(run_program("late", use))


# ---- loops -----------------------------------------------------------------------------------------------------------


# Scenarios that bring loops of their own.
OWN_LOOPS = {"without_add_reader", "nested", "nest_asyncio_itself", "loops_end_in_many_threads_at_once"}


@pytest.mark.parametrize("scenario", functions("loops", {"never_awaited"}))
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_loops(scenario: str, kind: str) -> None:
    if kind == "uvloop" and scenario in OWN_LOOPS:
        pytest.skip("brings its own loop")
    # What is freed is overwritten, so that whoever still looks at it is found.
    ended = run_program("loops", scenario, loop_kind=kind, timeout=55, env={"MALLOC_PERTURB_": "165"})
    if ended.stdout.startswith("skipped: "):
        pytest.skip(ended.stdout.strip())
    assert_clean(ended)


@pytest.mark.parametrize("scenario", functions("foreign"))
def test_foreign_loops(scenario: str) -> None:
    pytest.importorskip("trio")
    pytest.importorskip("anyio")
    assert_clean(run_program("foreign", scenario))


def test_an_unbound_operation_that_is_never_awaited_warns_with_the_callers_line() -> None:
    ended = run_program("loops", "never_awaited")
    assert ended.returncode == 0
    assert "loops.py" in ended.stderr
    assert "RuntimeWarning: operation 'sha256' was never awaited" in ended.stderr


# ---- fork ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", functions("forks", {"start_method"}))
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_fork(scenario: str, kind: str) -> None:
    if kind == "uvloop" and scenario == "descriptors_in_the_child":
        pytest.skip("uvloop's loops have eventfds of their own")
    assert_clean(run_program("forks", scenario, options=FORK_OPTIONS, loop_kind=kind))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method: str) -> None:
    assert_clean(run_program("forks", "start_method", method, options=FORK_OPTIONS))


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def interrupt(scenario: str) -> tuple[int, list[str], str]:
    """Runs a scenario and sends SIGINT each time it says that it is running."""
    program = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "signals.py"), scenario],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(30, program.kill)
    guard.start()
    lines = []
    try:
        assert program.stdout is not None
        assert program.stderr is not None
        for line in program.stdout:
            lines.append(line.strip())
            if lines[-1] == "running":
                program.send_signal(signal.SIGINT)
        stderr = program.stderr.read()
        return program.wait(), lines, stderr
    finally:
        guard.cancel()
        program.kill()
        program.wait()
        program.stdout.close()  # type: ignore[union-attr]
        program.stderr.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("during_await", ["running", "interrupted"]),
        ("during_many", ["running", "interrupted"]),
        ("during_batch_hash", ["running", "interrupted"]),
        ("usable_afterwards", ["running", "interrupted"]),
        ("handler_raises", ["running", "interrupted"]),
        ("handler_returns", ["running", "interrupted"]),
        ("cleanup_may_submit", ["running", "cleaned", "interrupted"]),
        ("twice", ["running", "running", "interrupted"]),
        ("twice_with_what_cannot_be_interrupted", ["running", "running", "interrupted"]),
        ("during_compute_sha256", ["running", "computed", "interrupted"]),
        ("in_a_drain", ["interrupted"]),
        ("twice_in_a_drain", ["interrupted"]),
    ],
)
def test_ctrl_c_is_served(scenario: str, expected: list[str]) -> None:
    started = time.monotonic()
    assert interrupt(scenario) == (0, expected, "")
    assert time.monotonic() - started < SOON_S


def test_workers_take_no_signals() -> None:
    assert_clean(run_program("masks"))


# ---- import ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["starts_no_thread", "loads_no_libcurl", "thread"])
def test_import(scenario: str) -> None:
    assert_clean(run_program("imports", scenario))


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_a_subinterpreter_gets_an_import_error(kind: str) -> None:
    assert_clean(run_program("imports", "subinterpreter", kind))


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_backtraces_are_notes_when_they_are_asked_for() -> None:
    assert_clean(run_program("backtrace", env={"OFFLOOP_BACKTRACE": "1"}), "1\n")
    assert_clean(run_program("backtrace", env={"OFFLOOP_BACKTRACE": "0"}), "0\n")
    assert_clean(run_program("backtrace"), "0\n")


def test_an_error_that_nobody_retrieves_is_shown_once() -> None:
    ended = run_program("backtrace", "unseen")
    assert ended.returncode == 0
    assert ended.stderr.count("never retrieved") == 1
    assert "FileNotFoundError" in ended.stderr
    assert os.sep in ended.stderr


@pytest.mark.parametrize("payload", [b"inline", b"by the pool" * 20_000], ids=["inline", "pool"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_loop_that_refers_to_its_own_operation_is_collected(payload: bytes, cancelled: bool) -> None:
    async def end() -> offloop.Operation[str]:
        operation = offloop.sha256(payload)
        if cancelled:
            operation.cancel()
        else:
            await operation
        return operation

    loop = asyncio.new_event_loop()
    loop.cycle = loop.run_until_complete(end())  # type: ignore[attr-defined]
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_loop_that_is_collected_with_an_error_that_nobody_retrieved_is_still_whole_when_it_is_told(kind: str) -> None:
    reports: list[tuple[str, bool]] = []
    unraisable: list[Any] = []

    async def fail() -> offloop.Operation[bytes]:
        operation = hashing.file_digest("/nowhere")
        await until(operation.done)
        return operation

    loop = new_loop(kind)
    loop.set_exception_handler(lambda loop, report: reports.append((report["message"], loop.is_closed())))
    loop.cycle = loop.run_until_complete(fail())  # type: ignore[attr-defined]
    loop.close()
    gone = weakref.ref(loop)
    del loop
    hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert gone() is None
    assert reports == [("Operation exception was never retrieved", True)]
    assert unraisable == []


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop()  # type: ignore[no-any-return]
    return asyncio.new_event_loop()
