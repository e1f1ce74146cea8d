"""Transfers running while the process ends, forks, is interrupted, or its loop closes. In processes of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pytest
from bridge_helpers import PROGRAMS, assert_clean, run_program
from fetch_helpers import quiet

from offloop.testing import Origin

# Much less than the transfers would take (10 minutes), much more than an end without them.
SOON_S = 15.0
FORK_OPTIONS = ("-W", "ignore::DeprecationWarning")  # since 3.12 fork() warns of threads, whatever they do


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


def scenarios(start: str) -> list[str]:
    text = (PROGRAMS / "fetch_life.py").read_text()
    return [name for name in re.findall(r"^def (\w+)\(folder: str\)", text, re.MULTILINE) if name.startswith(start)]


@pytest.mark.parametrize("scenario", scenarios("exit_"))
def test_the_process_ends_soon_and_silently_with_transfers_running(origin: Origin, scenario: str) -> None:
    started = time.monotonic()
    assert_clean(run_program("fetch_life", scenario, origin.url("/")[:-1]))
    assert time.monotonic() - started < SOON_S
    origin.wait_for(lambda stats: stats.in_progress == 0)


@pytest.mark.parametrize("turn", range(3))
def test_a_daemon_thread_that_fetches_at_exit_never_crashes(origin: Origin, turn: int) -> None:
    assert_clean(run_program("fetch_life", "exit_with_a_daemon_thread_fetching", origin.url("/")[:-1]))


def test_a_loop_that_closes_leaves_a_working_fetcher(origin: Origin) -> None:
    assert_clean(run_program("fetch_life", "the_loop_closes", origin.url("/")[:-1]))


@pytest.mark.parametrize("scenario", scenarios("fork_"))
def test_a_fork_leaves_the_parents_transfers_alone_and_the_child_works(origin: Origin, scenario: str) -> None:
    assert_clean(run_program("fetch_life", scenario, origin.url("/")[:-1], options=FORK_OPTIONS))


def interrupt(origin: Origin, scenario: str) -> tuple[int, str, str]:
    program = subprocess.Popen(
        [sys.executable, PROGRAMS / "fetch_life.py", scenario, origin.url("/")[:-1]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        origin.wait_for(lambda stats: stats.paths.get("/hang", 0) == 5, timeout=30)
        program.send_signal(signal.SIGINT)
        stdout, stderr = program.communicate(timeout=30)
    finally:
        program.kill()
        program.communicate()
    return program.returncode, stdout, stderr


def test_ctrl_c_ends_fetch_and_hash_urls_and_its_connections(origin: Origin) -> None:
    code, stdout, stderr = interrupt(origin, "ctrl_c")
    assert (code, stdout) == (-signal.SIGINT, "running\n")
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert origin.wait_for(lambda stats: stats.in_progress == 0).aborted_by_client == 5


def test_after_a_ctrl_c_that_was_caught_fetching_works(origin: Origin) -> None:
    assert interrupt(origin, "ctrl_c_caught") == (0, "running\nok\n", "")
    stats = origin.wait_for(lambda stats: stats.in_progress == 0)
    assert (stats.aborted_by_client, stats.paths["/hang"]) == (5, 5)


IMPORTS = """
import os, offloop
maps = open("/proc/self/maps").read()
assert "libcurl" not in maps and "_ext" not in maps and "offloop_fetch" not in maps, "fetching was loaded by the import"
offloop.fetch_url
assert "libcurl" in open("/proc/self/maps").read()
assert len(os.listdir("/proc/self/task")) == 1, "an import started a thread"
fetcher = offloop.fetch.Fetcher()
assert len(os.listdir("/proc/self/task")) == 1, "a fetcher that was not used started a thread"
fetcher.close()
print("ok")
"""


def test_importing_offloop_loads_no_libcurl_and_starts_no_thread() -> None:
    assert_clean(subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False))
