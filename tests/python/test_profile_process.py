"""`offloop profile --pid`: what a process that runs already tells, and what is said when it cannot be looked into."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bridge_helpers import PROGRAMS
from profile_helpers import WITHOUT_TOOLS, Profiler, beside

from offloop.profiling import target

NOBODY = 65534
# Waits for the end of standard input in a system call of its main thread.
IN_A_CALL = "import os; print('up', flush=True); os.read(0, 1)"


def may_reach_into_processes() -> str:
    """Empty, or why sys.remote_exec cannot be had here."""
    send = getattr(sys, "remote_exec", None)
    if send is None:
        return "sys.remote_exec came with Python 3.14"
    with beside(sys.executable, "-c", IN_A_CALL) as process:
        try:
            send(process.pid, os.devnull)
        except (OSError, RuntimeError) as error:
            return f"processes cannot be traced here: {error}"
    return ""


CANNOT = may_reach_into_processes()
reaches_in = pytest.mark.skipif(bool(CANNOT), reason=CANNOT)


def ended(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    """What it said and its exit code, after its standard input is closed."""
    printed, complaints = process.communicate(timeout=30)
    return printed, complaints, process.returncode


def is_watched(process: subprocess.Popen[str]) -> bool:
    """By the name of the watcher's thread, which the system knows from 3.14 on."""
    names = [task.read_text().strip() for task in Path(f"/proc/{process.pid}/task").glob("*/comm")]
    return "offloop-profile" in names


@reaches_in
def test_a_running_program_tells_latencies_and_who_blocks_its_loop(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with beside(sys.executable, PROGRAMS / "profile_serving.py") as process:
        done = profiler.run("--pid", process.pid, "--duration", 3)
        assert ended(process) == ("down\n", "", 0)
    assert done.returncode == 0, done.stderr
    assert "latencies and stalls" not in done.stderr
    document = profiler.document
    assert (document["processes"], document["loops"]) == (1, 1)
    assert document["operations"] > 0
    assert document["run"]["count"] > 0
    assert re.search(r"the loop is blocked \d+ ms by time\.sleep in profile_serving\.py:\d+ ", done.stderr), done.stderr
    profiler.assert_nothing_is_left()


@reaches_in
def test_it_can_be_looked_at_again_and_keeps_no_thread(tmp_path: Path) -> None:
    with beside(sys.executable, PROGRAMS / "profile_serving.py") as process:
        for number in ("first", "second"):
            (tmp_path / number).mkdir()
            profiler = Profiler(tmp_path / number, tools=False)
            done = profiler.run("--pid", process.pid, "--duration", 1)
            assert (done.returncode, profiler.document["processes"]) == (0, 1), done.stderr
            assert not is_watched(process)
        assert ended(process) == ("down\n", "", 0)


@reaches_in
def test_ctrl_c_ends_it_with_the_report_and_130(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with beside(sys.executable, PROGRAMS / "profile_serving.py") as process:
        with profiler.running("--pid", process.pid, "--duration", 600) as running:
            profiler.wait_for_operations()
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=30)
        assert not is_watched(process)
        assert ended(process) == ("down\n", "", 0)  # it has not felt anything
    assert running.returncode == 130, said
    assert profiler.document["operations"] > 0
    assert "written: " in said
    profiler.assert_nothing_is_left()


@reaches_in
def test_a_main_thread_in_a_native_call_is_told_and_never_sees_the_script(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path, tools=False)
    with beside(sys.executable, "-c", IN_A_CALL) as process:
        done = profiler.run("--pid", process.pid, "--duration", 0.5)
        assert ended(process) == ("", "", 0)  # the script is gone by now
    assert done.returncode == 3
    assert f"the main thread of process {process.pid} ran no Python code meanwhile" in done.stderr
    assert not profiler.out.joinpath("profile.json").exists()
    profiler.assert_nothing_is_left()


@reaches_in
def test_what_the_process_answers_is_told(tmp_path: Path) -> None:
    watched = {**os.environ, "OFFLOOP_PROFILE": str(tmp_path)}
    program = PROGRAMS / "profile_serving.py"
    busy = "import threading, sys\nthreading.Thread(target=lambda: sys.stdin.read()).start()\nprint('up', flush=True)\n"
    for number, (command, environment, says) in enumerate(
        [
            ([program], watched, "RuntimeError: another offloop profile is looking at it"),
            (["-S", "-c", busy + "while True: pass"], None, "ModuleNotFoundError: No module named 'offloop'"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        profiler = Profiler(tmp_path / str(number), tools=False)
        with beside(sys.executable, *command, env=environment, cwd=tmp_path) as process:
            done = profiler.run("--pid", process.pid, "--duration", 30)
            assert process.poll() is None
        assert done.returncode == 3
        assert f"process {process.pid} answered {says}" in done.stderr
        profiler.assert_nothing_is_left()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """One that other users may enter, and a user who may start this interpreter; else the test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("only root starts processes of other users")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        try:
            subprocess.run([sys.executable, "-c", "import offloop"], user=NOBODY, cwd="/", check=True)
        except (PermissionError, subprocess.CalledProcessError):
            pytest.skip("other users cannot start this interpreter")
        yield Path(name)


@reaches_in
def test_root_looks_into_a_process_of_another_user(shared_folder: Path) -> None:
    profiler = Profiler(shared_folder, tools=False)
    with beside(sys.executable, PROGRAMS / "profile_serving.py", user=NOBODY, cwd="/") as process:
        done = profiler.run("--pid", process.pid, "--duration", 1)
        assert ended(process) == ("down\n", "", 0)
    assert done.returncode == 0, done.stderr
    assert profiler.document["processes"] == 1, done.stderr
    profiler.assert_nothing_is_left()


def test_a_process_of_another_user_is_refused_with_both_names(shared_folder: Path) -> None:
    profiler = Profiler(shared_folder, tools=False)
    for folder in (shared_folder, profiler.temporary):
        os.chown(folder, NOBODY, -1)
    with beside(sys.executable, "-c", IN_A_CALL) as process:
        done = profiler.run("--pid", process.pid, user=NOBODY, cwd="/")
    assert done.returncode == 3, done.stderr
    if hasattr(sys, "remote_exec"):
        names = f"belongs to user 0, this is user {NOBODY}: run it as that user or as root"
        assert f"process {process.pid} {names}" in done.stderr
    profiler.assert_nothing_is_left()


def other_python() -> str | None:
    """Another version of CPython that is installed, and runs."""
    for minor in range(11, 16):
        found = shutil.which(f"python3.{minor}", path="/usr/bin:" + os.environ.get("PATH", ""))
        if found is None or sys.version_info[:2] == (3, minor):
            continue
        if subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


OTHER = other_python()


@pytest.mark.skipif(OTHER is None, reason="no other version of Python is installed")
def test_another_version_of_python_is_named(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path, tools=False)
    with beside(OTHER, "-c", IN_A_CALL) as process:
        theirs = target.python_of(process.pid)
        done = profiler.run("--pid", process.pid, "--duration", 30)
        assert ended(process) == ("", "", 0)
    assert done.returncode == 3
    assert theirs == str(OTHER).rpartition("python")[2]
    if hasattr(sys, "remote_exec"):
        assert f"process {process.pid} runs on Python {theirs}, offloop profile on " in done.stderr
    else:
        assert f"offloop profile runs on Python {target.own_python()}, it takes 3.14 or later" in done.stderr


def test_before_3_14_it_is_said_what_that_takes(tmp_path: Path) -> None:
    start = f"import sys; sys.__dict__.pop('remote_exec', None); {WITHOUT_TOOLS}"
    profiler = Profiler(tmp_path, tools=False, start=start)
    with beside(sys.executable, "-c", IN_A_CALL) as process:
        done = profiler.run("--pid", process.pid, "--duration", 30)
    assert done.returncode == 3
    assert "it takes 3.14 or later, and the same version in the process" in done.stderr
    assert "perf is not installed" in done.stderr
    assert "py-spy is not installed" in done.stderr


def test_what_is_not_python_is_said_at_once(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with beside("/bin/sh", "-c", "echo up; exec cat") as process:
        done = profiler.run("--pid", process.pid, "--duration", 600)
    assert done.returncode == 3
    assert f"nothing can be seen of process {process.pid}: " in done.stderr
    if hasattr(sys, "remote_exec"):
        assert re.search(rf"process {process.pid} \((cat|sh)\) is not Python", done.stderr), done.stderr
    profiler.assert_nothing_is_left()


def test_what_has_ended_and_waits_for_its_parent_is_no_process(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    done = Profiler(tmp_path).run("--pid", process.pid)
    process.wait()
    assert (done.returncode, done.stderr) == (
        3,
        f"offloop profile: process {process.pid} has ended already, and waits for its parent to ask how\n",
    )
    assert not (tmp_path / "out").exists()


def test_a_thread_is_no_process(tmp_path: Path) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    done = Profiler(tmp_path).run("--pid", thread.native_id)
    over.set()
    thread.join()
    assert (done.returncode, done.stderr) == (
        3, f"offloop profile: {thread.native_id} is a thread of process {os.getpid()}: give that number\n"
    )  # fmt: skip
