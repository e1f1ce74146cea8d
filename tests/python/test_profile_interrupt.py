"""Ctrl-C during `offloop profile -- COMMAND`: the command gets it once, the report is written, nothing stays behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from bridge_helpers import PROGRAMS
from profile_helpers import Profiler

from offloop.profiling import session
from offloop.profiling.signals import Signals

COUNTS = (sys.executable, PROGRAMS / "profile_interrupted.py")


def assert_reported(profiler: Profiler, said: str, operations: int = 1) -> None:
    assert "written: " in said, said
    assert profiler.document["operations"] == operations
    assert (profiler.out / "flame.svg").exists()
    profiler.assert_nothing_is_left()


def test_one_sent_to_us_alone_is_handed_on(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with profiler.running("--", *COUNTS) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=40)
    assert running.returncode == 41, said
    assert_reported(profiler, said)


def test_one_of_a_terminal_comes_once_to_the_command(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path, tools=False)  # py-spy stops the command now and then: two signals become one
    with warnings.catch_warnings():  # the pool of an earlier test may have threads; the child only executes
        warnings.simplefilter("ignore", DeprecationWarning)
        child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, profiler.line("--", *COUNTS), profiler.environment)
    said = b""
    with os.fdopen(terminal, "r+b", buffering=0) as keyboard:
        while True:
            try:
                more = keyboard.read(4096)
            except OSError:  # nobody has it open any more
                break
            if not more:
                break
            if b"up" not in said and b"up" in said + more:
                keyboard.write(b"\x03")
            said += more
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 41, said
    assert_reported(profiler, said.decode())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)]
)
def test_a_command_that_dies_of_it_has_the_exit_code_of_a_shell(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    profiler = Profiler(tmp_path, tools=False)
    command = "import time, offloop; print('up', flush=True); time.sleep(600)"
    with profiler.running("--", sys.executable, "-c", command) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(number)
        _, said = running.communicate(timeout=40)
    assert running.returncode == code, said
    assert_reported(profiler, said, operations=0)


def test_after_the_duration_it_still_goes_to_the_command(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with profiler.running("--duration", 0.1, "--", *COUNTS) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=40)
    assert running.returncode == 41, said
    assert "written: " in said, said
    profiler.assert_nothing_is_left()


def test_a_command_that_ends_before_it_has_begun_keeps_its_exit_code() -> None:
    process = subprocess.Popen(["/bin/sh", "-c", "kill -INT $$"])
    assert not session._waits_at_the_gate(process)
    assert process.wait() == -signal.SIGINT


def test_what_came_before_the_command_is_handed_on() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signals.wait(30)
        process = subprocess.Popen(["sleep", "600"])
        signals.go_to(process)
        assert process.wait(30) == -signal.SIGINT
    assert signals.came == signal.SIGINT


def test_while_the_report_is_made_a_second_one_is_obeyed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Signals() as signals:
        signals.reporting()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.came is None
    finally:
        signal.signal(signal.SIGHUP, before)
