"""`offloop profile`: who blocks the loop is named, queueing told, whatever is missing; the command stays as it is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bridge_helpers import PROGRAMS
from profile_helpers import WITHOUT_TOOLS

from offloop.cli import main
from offloop.profiling import flamegraph, perf, pyspy, tools
from offloop.profiling.diagnosis import diagnose
from offloop.profiling.figures import Blocked, Latency, Profile, latency

# Without a GIL a frame is looked at while it runs, and does not always say which of its calls it is in.
LOADS = r"(json\.loads|handler)" if sysconfig.get_config_var("Py_GIL_DISABLED") else r"json\.loads"


class Ran(NamedTuple):
    done: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "profile.json").read_text())
        return found

    @property
    def stacks(self) -> list[str]:
        return [line.rpartition(" ")[0] for line in (self.folder / "stacks.folded").read_text().splitlines()]


def profile(folder: Path, *command: str | Path, options: tuple[str, ...] = (), tools: bool = True) -> Ran:
    start = ["-m", "offloop"] if tools else ["-c", WITHOUT_TOOLS]
    done = subprocess.run(
        [sys.executable, *start, "profile", "-o", folder, *options, "--", *command],
        env={**os.environ, **({} if tools else {"PATH": ""})},
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    return Ran(done, folder)


def line_of(program: str, text: str) -> int:
    lines = (PROGRAMS / program).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run without perf and py-spy."""
    return profile(tmp_path_factory.mktemp("blocked"), sys.executable, PROGRAMS / "profile_blocked.py", tools=False)


def test_who_blocks_the_loop_is_named_with_file_and_line(blocked: Ran) -> None:
    for call, text in ((r"time\.sleep", "time.sleep("), (LOADS, "json.loads(")):
        line = line_of("profile_blocked.py", text)
        said = rf"the loop is blocked \d+ ms by {call} in profile_blocked\.py:{line} "
        assert re.search(said, blocked.done.stderr), blocked.done.stderr
    (sleep,) = (one for one in blocked.document["blocked"] if one["call"] == "time.sleep")
    assert sleep["longest_ms"] > 150
    assert "try: await asyncio.sleep(...)" in blocked.done.stderr


def test_the_command_keeps_its_output_and_its_exit_code(blocked: Ran) -> None:
    assert (blocked.done.returncode, blocked.done.stdout) == (7, "handled\n")


def test_what_is_missing_is_named_and_the_rest_is_there(blocked: Ran) -> None:
    assert "not measured: perf is not installed" in blocked.done.stderr
    assert "not measured: py-spy is not installed: pip install 'offloop[profile]'" in blocked.done.stderr
    assert any("sleep" in stack or "handler" in stack for stack in blocked.stacks), blocked.stacks
    assert all(stack.startswith("Python;") for stack in blocked.stacks)
    assert blocked.document["operations"] == 1
    assert blocked.document["run"]["count"] == 1


def test_the_flame_graph_is_one_svg_that_can_be_parsed(blocked: Ran) -> None:
    root = ElementTree.parse(blocked.folder / "flame.svg").getroot()
    assert root.tag.endswith("svg")
    titles = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("handler (profile_blocked.py:") for title in titles), titles


def test_a_saturated_pool_is_queueing(tmp_path: Path) -> None:
    ran = profile(tmp_path, sys.executable, PROGRAMS / "profile_saturated.py", tools=False)
    assert ran.done.returncode == 0, ran.done.stderr
    assert re.search(r"- \d+ % of the wait is queueing: 1 worker, \d+ % busy", ran.done.stderr), ran.done.stderr
    assert ran.document["queue_share"] > 0.5
    assert ran.document["busy"] > 0.8
    assert ran.document["operations"] == 100


def test_with_the_tools_there_are_stacks_of_python_and_of_the_core(tmp_path: Path) -> None:
    ran = profile(tmp_path, sys.executable, PROGRAMS / "profile_saturated.py")
    assert ran.done.returncode == 0, ran.done.stderr
    for tool, root in (("perf", "core;offloop-w0;"), ("py-spy", "Python;")):
        seen = any(stack.startswith(root) for stack in ran.stacks)
        assert seen or f"not measured: {tool}" in ran.done.stderr, (ran.stacks, ran.done.stderr)
    if any(stack.startswith("core;") for stack in ran.stacks):
        assert any("offloop::" in stack for stack in ran.stacks), ran.stacks


@pytest.mark.parametrize(
    ("script", "code"), [("exit 3", 3), ("kill -TERM $$", 128 + signal.SIGTERM), ("exec /no/such/program", 127)]
)
def test_exit_codes_are_kept_also_of_what_never_imports_offloop(
    script: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert main(["profile", "-o", str(tmp_path), "--", "/bin/sh", "-c", script]) == code
    assert "no process of the command imported offloop" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--pid", "1", "--", "true"], ["--duration", "0", "--", "true"]])
def test_a_wrong_command_line_is_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *arguments]) == 2
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_not_there_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert main(["profile", "-o", str(tmp_path), "--pid", str(process.pid)]) == 3
    assert capsys.readouterr().err == f"offloop profile: there is no process {process.pid}\n"


def test_a_folder_that_cannot_be_made_is_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["profile", "-o", str(tmp_path / "file" / "out"), "--", "false"]) == 4
    assert "cannot make" in capsys.readouterr().err


def test_a_running_process_is_looked_at(tmp_path: Path) -> None:
    program = "import time, offloop\nprint('up', flush=True)\nwhile True: sum(range(1000))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "offloop",
                    "profile",
                    "-o",
                    tmp_path,
                    "--pid",
                    str(process.pid),
                    "--duration",
                    "0.5",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=50,
            )
        finally:
            process.kill()
    ran = Ran(done, tmp_path)
    assert done.returncode == 0, done.stderr
    if "not measured: py-spy" not in done.stderr:
        assert any(stack.startswith("Python;") for stack in ran.stacks), done.stderr
    if hasattr(sys, "remote_exec") and "latencies and stalls" not in done.stderr:
        assert ran.document["processes"] == 1


# ---- words ---------------------------------------------------------------------------------------------------------


def made(**changes: Any) -> Profile:
    waits = {"queue": 1.0, "run": 98.0, "deliver": 1.0}
    phases = {name: Latency(100, changes.pop(name, ms), 1.0, 2.0) for name, ms in waits.items()}
    return Profile(**{"processes": 1, "cpus": 2, "threads": 2, "busy": 0.97, **phases, **changes})


@pytest.mark.parametrize(
    ("figures", "says", "attempt"),
    [
        (made(queue=67.5), "41 % of the wait is queueing: 2 workers, 97 % busy", "one batch call"),
        (made(queue=67.5, threads=1), "41 % of the wait is queueing: 1 worker, 97 % busy", "threads=2"),
        (made(queue=67.5, busy=0.3), "41 % of the wait is queueing: 2 workers, 30 % busy", "bursts"),
        (made(parked=12.4), "12 operations wait for a slot on average", "max_pending"),
        (made(deliver=99.0), "50 % of the wait is for the loop to fetch the result", "shorter steps"),
        (made(operations=500, quanta=500, lane_fill=1.0), "500 operations, 1.0 side by side", "TaskGroup"),
        (
            made(blocked=(Blocked("json.loads", "/srv/app.py", 31, 3, 180.4, 500.0),)),
            "the loop is blocked 180 ms by json.loads in app.py:31 (3 times, 500 ms in all)",
            "split the document",
        ),
        (made(), "nothing stands out", ""),
        (Profile(), "no process of the command imported offloop", ""),
        (Profile(attached=True), "the process is seen from outside alone: there are stacks, but no latencies", ""),
    ],
)
def test_the_diagnosis_follows_the_figures(figures: Profile, says: str, attempt: str) -> None:
    (finding,) = diagnose(figures)
    assert says in finding.says
    assert attempt in finding.attempt


@pytest.mark.parametrize(
    ("call", "attempt"),
    [
        ("hashlib.sha256", "offloop.sha256"),
        ("urllib.request.urlopen", "offloop.fetch_url"),
        ("threading.Event().wait", "asyncio's own"),
        ("Path(name).read_bytes", "file_digest"),
        ("numpy.linalg.svd", "an operation of offloop"),
    ],
)
def test_what_to_try_follows_the_call(call: str, attempt: str) -> None:
    (finding,) = diagnose(made(blocked=(Blocked(call, "/srv/app.py", 1, 1, 50.0, 50.0),)))
    assert attempt in finding.attempt


def test_latencies_are_bounds_of_their_buckets() -> None:
    found = latency([[0] * 21 + [99, 0, 0, 1], [0] * 21 + [0, 0, 0, 0]])
    assert (found.count, found.p50_ms, found.p99_ms) == (100, 2**21 / 1e6, 2**21 / 1e6)
    assert latency([[0] * 40]).p99_ms == 0


# ---- formats of others ---------------------------------------------------------------------------------------------


def test_stacks_of_perf_are_the_cores_alone() -> None:
    script = (
        "offloop-w0  4242 \n"
        "\t    7f10 non-virtual thunk to offloop::hash::(anonymous namespace)::run(offloop::Q&) (/lib/liboffloop.so)\n"
        "\t    7f00 [unknown] (/usr/lib/libc.so.6)\n\n"
        "python3  4241 \n\t    55aa main (/usr/bin/python3)\n\n"
        "offloop-io-0  4243 \n\t ffffffff81000000 do_syscall_64 ([kernel.kallsyms])\n\n"
    )
    assert perf.folded(script) == {
        "offloop-w0;[libc.so.6];offloop::hash::run": 1,
        "offloop-io-0;do_syscall_64": 1,
    }


def test_stacks_of_py_spy_are_added_up() -> None:
    text = (
        "main (a.py:1);work (a.py:2) 3\n"
        "main (a.py:1);work (a.py:2) 4\n\n"
        "run (offloop/profiling/child.py:70) 9\nnonsense\n"
        """process 42:"python -c 'a; b'";process 43:"sh";main (a.py:1) 2\n"""
    )
    assert pyspy.folded(text) == {"main (a.py:1);work (a.py:2)": 7, "process 42;process 43;main (a.py:1)": 2}


def test_widths_are_shares_of_the_time() -> None:
    root = flamegraph.tree({"Python;a;b": 3.0, "Python;a": 1.0, "core;w": 4.0})
    assert root.seconds == 8
    assert root.children["Python"].children["a"].seconds == 4
    assert root.children["Python"].children["a"].children["b"].seconds == 3
    picture = ElementTree.fromstring(flamegraph.svg({"Python;f<lambda>&": 1.0, "core;w": 3.0}, "a < b").encode())
    boxes = {box.get("data-n"): float(box.get("data-w", "0")) for box in picture.iter("{http://www.w3.org/2000/svg}g")}
    assert boxes == {"all": 1.0, "Python": 0.25, "f<lambda>&": 0.25, "core": 0.75, "w": 0.75}
    assert ElementTree.fromstring(flamegraph.svg({}, "nothing").encode()) is not None


def test_a_tool_is_found_beside_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "py-spy").write_text("#!/bin/sh\n")
    (tmp_path / "py-spy").chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert tools.find("py-spy") == str(tmp_path / "py-spy")
    assert tools.find("no-such-tool") is None
