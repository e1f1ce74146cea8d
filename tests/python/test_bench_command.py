"""``offloop bench`` as a program: every task with every contender that is installed, and the user's own workload."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from offloop.bench import document
from offloop.cli import main
from offloop.testing import Origin

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb", "COLUMNS": "200"}

Completed = subprocess.CompletedProcess[str]

OWN = """
import hashlib, os, signal
from pathlib import Path
def sha1(data): return hashlib.sha1(data).hexdigest()
def length(data): return len(data)
def raw(data): return hashlib.sha256(data).digest()
def moody(data): return os.urandom(4)
def raises(data): raise LookupError("not these")
async def coroutine(data): return 1
def wrong_in_threads(data):
    import threading
    return threading.current_thread() is threading.main_thread()
calls = 0
def interrupts(data):
    global calls
    calls += 1
    if calls == {calls}:
        signal.raise_signal(signal.SIGINT)
    return len(data)
"""


def bench(*arguments: str | Path, cwd: Path, plots: bool = False, **environment: str) -> Completed:
    given = ["--no-html", *map(str, arguments)] if "--output" in arguments and not plots else [*map(str, arguments)]
    return subprocess.run(
        [sys.executable, "-m", "offloop", "bench", *given],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **environment},
        timeout=55,
        check=False,
    )


def results(folder: Path) -> document.Document:
    """What was written, held against the schema."""
    found = document.read(folder)
    fastjsonschema.compile(json.loads(document.SCHEMA.read_text()))(found)
    return found


def told(found: document.Document) -> dict[str, dict[str, Any]]:
    """Of the first case: contender to row."""
    return {row["name"]: dict(row) for row in found["cases"][0]["contenders"]}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the user's module and data."""
    (tmp_path / "own.py").write_text(OWN.replace("{calls}", "1500"))
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_text(name * 5000)
    return tmp_path


# ---- the suite -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Completed, Path]:
    """One run of every task in the quick form, at small sizes."""
    folder = tmp_path_factory.mktemp("bench")
    tasks = ("--task", "hash", "--task", "fetch", "--task", "cancel")
    done = bench("--quick", *tasks, "--sizes", "4KiB", "--repeats", "1", "--output", "out", cwd=folder, plots=True)
    return done, folder


def test_every_contender_of_every_task_answers_right(run: tuple[Completed, Path]) -> None:
    done, folder = run
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(folder / "out")
    assert (found["complete"], found["interrupted"], found["form"]) == (True, False, "quick")
    assert [case["task"] for case in found["cases"]] == ["hash", "fetch", "cancel"]
    for case in found["cases"]:
        for row in case["contenders"]:
            assert row["status"] in ("ok", "missing"), row
            assert (len(row["seconds"]) == 1) == (row["status"] == "ok")
            if row["status"] == "ok":
                assert row["items_per_second"]
                assert row["cpu_seconds_per_item"]
                assert row["settings"]
                assert (row["latency"] is not None) == (case["task"] != "cancel")
                assert (row["stall"] is not None) == (row["variant"] != "native")
        variants = {row["variant"] for row in case["contenders"] if row["status"] == "ok"}
        assert "hybrid" in variants
        # There may be no aiohttp for this interpreter, and nobody else who fetches.
        assert "asyncio" in variants or (case["task"] == "fetch" and find_spec("aiohttp") is None)
    assert {row["name"] for row in found["cases"][0]["contenders"] if row["status"] == "ok"} >= {
        "asyncio, hashlib inline", "asyncio.to_thread", "ThreadPoolExecutor", "ProcessPoolExecutor",
        "offloop, await each", "offloop, sha256_many", "native",
    }  # fmt: skip


def test_a_missing_contender_is_a_named_gap(run: tuple[Completed, Path]) -> None:
    gap = "InterpreterPoolExecutor: InterpreterPoolExecutor came with Python 3.14"
    assert (gap in run[0].stdout) == (sys.version_info < (3, 14))


def test_every_row_is_printed_and_the_pages_are_written(run: tuple[Completed, Path]) -> None:
    done, folder = run
    for case in results(folder / "out")["cases"]:
        assert f"{case['task']}: {case['name']}" in done.stdout
        for row in case["contenders"]:
            assert f"│ {row['name']} " in done.stdout
    for sentence in results(folder / "out")["sentences"]:
        assert " ".join(sentence.split()) in " ".join(done.stdout.split())
    assert "<h2>Summary</h2>" in (folder / "out" / "report.html").read_text()
    assert "189 GB/s" in (folder / "out" / "claims.md").read_text()


def test_a_run_compared_with_itself_shows_no_difference(run: tuple[Completed, Path]) -> None:
    done = bench("compare", "out", "out/results.json", "--json", cwd=run[1])
    assert done.returncode == 0
    verdicts = {change["verdict"] for change in json.loads(done.stdout)["changes"]}
    assert verdicts <= {"no difference shown", "too few rounds"}


def test_compare_ends_with_1_when_something_became_slower(run: tuple[Completed, Path], tmp_path: Path) -> None:
    old = results(run[1] / "out")
    for case in old["cases"]:
        for row in case["contenders"]:
            row["seconds"] = [1.0, 1.01, 1.02, 1.03, 1.04][: 5 * bool(row["seconds"])]
    document.write(old, tmp_path / "old")
    for case in old["cases"]:
        for row in case["contenders"]:
            row["seconds"] = [2 * seconds for seconds in row["seconds"]]
    document.write(old, tmp_path / "new")
    done = bench("compare", "old", "new", cwd=tmp_path)
    assert done.returncode == 1
    assert "2.000x" in done.stdout
    assert "0 faster" in done.stdout
    back = bench("compare", "new", "old", cwd=tmp_path)
    assert (back.returncode, "0 slower" in back.stdout) == (0, True)


def test_the_pages_can_be_made_again(run: tuple[Completed, Path], tmp_path: Path) -> None:
    done = bench("report", run[1] / "out", "--output", tmp_path, cwd=tmp_path, plots=True)
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "claims.md"):
        assert (tmp_path / name).read_text() == (run[1] / "out" / name).read_text()
    assert bench("claims", run[1] / "out", cwd=tmp_path).stdout == (tmp_path / "claims.md").read_text()


# ---- the user's own --------------------------------------------------------------------------------------------------


def test_own_files_are_the_payloads(own: Path) -> None:
    done = bench("--quick", "--payloads", "data", "--contender", "offloop", "--output", "out", cwd=own)
    assert done.returncode == 0, done.stderr
    (case,) = results(own / "out")["cases"]
    assert (case["name"], case["total_bytes"]) == ("2 files of data", 10_000)


def test_own_urls_are_fetched_and_checked(own: Path, origin: Origin) -> None:
    urls = [origin.url(f"/bytes/{size}") for size in (10, 70_000)] + [origin.url("/gzip/1000")]
    (own / "urls").write_text("# mine\n" + "\n".join(urls) + "\n")
    done = bench("--quick", "--urls", "urls", "--output", "out", cwd=own)
    assert done.returncode == 0, done.stdout + done.stderr
    (case,) = results(own / "out")["cases"]
    assert (case["task"], case["items"]) == ("fetch", 3)


def test_own_pictures_are_resized_and_own_urls_of_pictures_fetched_and_resized(own: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.linear_gradient("L").save(own / "data" / "gradient.jpg")
    with Origin(root=own / "data") as origin:
        (own / "urls").write_text(origin.url("/files/gradient.jpg"))
        own_ones = ("--payloads", "data", "--urls", "urls")
        tasks = ("--task", "image", "--task", "fetch_image")
        done = bench("--quick", *tasks, *own_ones, "--repeats", "1", "--output", "out", cwd=own, plots=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(own / "out")
    assert [(case["task"], case["name"]) for case in found["cases"]] == [
        ("image", "1 JPEG of data to 256 px"),
        ("fetch_image", "1 URLs of urls to 256 px"),
    ]
    assert {row["status"] for case in found["cases"] for row in case["contenders"]} <= {"ok", "missing"}
    assert "image: 1 JPEG of data to 256 px" in done.stdout
    assert "image: 1 JPEG of data to 256 px" in (own / "out" / "report.html").read_text()


def test_own_function_is_measured_and_mapped_to_an_operation(own: Path) -> None:
    done = bench("--quick", "--call", "own:sha1", "--data", "data", "--output", "out", cwd=own)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = told(results(own / "out"))
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(
        ("inline", "threads", "processes", "offloop"), "ok"
    )


@pytest.mark.parametrize(("function", "status"), [("raw", "ok"), ("length", "missing")])
def test_a_function_without_an_operation_is_a_gap(own: Path, function: str, status: str) -> None:
    arguments = ("--call", f"own:{function}", "--data", "data", "--contender", "offloop", "--contender", "inline")
    done = bench("--quick", *arguments, "--output", "out", cwd=own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told(results(own / "out"))["offloop"]["status"] == status


def test_a_function_that_answers_otherwise_in_threads_is_wrong_there(own: Path) -> None:
    only = ("--contender", "threads", "--contender", "inline")
    done = bench("--quick", "--call", "own:wrong_in_threads", "--data", "data", *only, "--output", "out", cwd=own)
    rows = told(results(own / "out"))
    assert (rows["threads"]["status"], rows["threads"]["seconds"], rows["inline"]["status"]) == ("wrong", [], "ok")
    assert done.returncode == 1
    assert "WRONG: threads at call, own:wrong_in_threads on 2 files: answer 0 is False, expected True" in done.stdout


def test_ctrl_c_leaves_readable_results(own: Path) -> None:
    # Two calls to know the answers, then rounds of 200: call 1500 is in a timed one.
    arguments = ("--call", "own:interrupts", "--data", "data", "--contender", "inline", "--repeats", "50")
    done = bench("--quick", *arguments, "--output", "out", cwd=own)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found = results(own / "out")
    assert (found["complete"], found["interrupted"]) == (False, True)
    row = told(found)["inline"]
    assert row["status"] == "ok"
    assert 1 <= len(row["seconds"]) < 50
    assert "(interrupted)" in done.stdout
    assert "The run was interrupted after it had begun 1 case;" in done.stdout
    assert "189 GB/s" in (own / "out" / "claims.md").read_text()


def test_ctrl_c_in_a_terminal_reaches_every_process_and_ends_all_of_them(tmp_path: Path) -> None:
    sizes = ",".join(f"{size}KB" for size in range(1, 200))  # far more than are measured before the signal
    command = [sys.executable, "-m", "offloop", "bench", "--quick", "--task", "hash", "--sizes", sizes, "--no-html"]
    command += ["--contender", "ProcessPool", "--contender", "native", "--output", "out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        start_new_session=True,
    ) as program:  # fmt: skip
        deadline = time.monotonic() + 40
        while not (tmp_path / "out" / "results.json").exists() or not document.read(tmp_path / "out")["cases"]:
            assert time.monotonic() < deadline
            assert program.poll() is None
            time.sleep(0.02)
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=40)
    assert program.returncode == 130, out + err
    assert "KeyboardInterrupt" not in err  # of a worker process
    found = results(tmp_path / "out")
    assert (found["interrupted"], found["cases"][0]["complete"]) == (True, True)
    while time.monotonic() < deadline:
        try:
            os.killpg(program.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("a process of the suite has outlived it")


def test_the_open_loop_from_the_command_line(own: Path) -> None:
    arguments = ("--rate", "200,400", "--arrivals", "constant", "--duration", "0.2", "--sizes", "1KB,2KB")
    only = ("--contender", "await each", "--contender", "inline", "--contender", "many")
    done = bench("--quick", *arguments, *only, "--output", "out", cwd=own)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(own / "out")
    both = ("offloop, await each", "asyncio, hashlib inline")
    cases = ("100 x 1 KB", "100 x 2 KB")
    for case in cases:
        told = [row for row in found["open_loop"] if row["contender"] in both and row["case"] == case]
        rows = sorted((row["rate"], row["offered"], row["wrong"]) for row in told)
        assert rows == [(200, 39, 0)] * 2 + [(400, 79, 0)] * 2
    assert [f"open loop: hash, {case}: latency from the intended start" in done.stdout for case in cases] == [True] * 2
    assert any(row["contender"] == "offloop, sha256_many" and row["status"] == "missing" for row in found["open_loop"])


# ---- what is wrong with a command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--sizes", "1XB"), 2, "expected sizes as 10KB or 1MiB, got '1xb'"),
        (("--sizes", "0"), 2, "expected sizes"),
        (("--rate", "fast"), 2, "expected items a second, above 0"),
        (("--rate", "0"), 2, "expected items a second, above 0"),
        (("--call", "own:sha1"), 2, "--call and --data belong together"),
        (("--task", "none"), 2, "'none' is not one of"),
        (("--call", "own:none", "--data", "data"), 3, "own has no none"),
        (("--call", "nowhere:f", "--data", "data"), 3, "nowhere cannot be imported: ModuleNotFoundError"),
        (("--call", "own:coroutine", "--data", "data"), 3, "expected a plain function that takes bytes"),
        (("--call", "own:moody", "--data", "data"), 3, "answers differently when called again"),
        (("--call", "own:raises", "--data", "data"), 3, "own:raises fails on these files: LookupError: not these"),
        (("--payloads", "nowhere"), 3, "nowhere: expected files in it, found none"),
        (("--urls", "nowhere"), 3, "nowhere"),
        (("--urls", "data/a"), 3, "cannot be fetched"),
        (("--task", "image", "--payloads", "data"), 3, "data: expected JPEG files in it, found none"),
        (("--payloads", "data", "--output", "own.py/out"), 4, "cannot write the output: "),
        (("compare", "nowhere", "data"), 3, "nowhere"),
        (("report", "data/a"), 3, "expected JSON"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_command_line_says_what_is_wrong(
    own: Path,
    arguments: tuple[str, ...],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(own)
    monkeypatch.syspath_prepend(str(own))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    assert main(["bench", *arguments]) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_the_extra_it_says_so_and_works(own: Path) -> None:
    (own / "hidden").mkdir()
    for name in ("aiohttp", "matplotlib", "uvloop", "blake3", "PIL"):
        (own / "hidden" / f"{name}.py").write_text("raise ImportError('hidden by the test')")
    tasks = ("--task", "fetch", "--task", "image", "--task", "fetch_image")
    arguments = ("--quick", *tasks, "--sizes", "1KB", "--repeats", "1", "--output", "out")
    done = bench(*arguments, cwd=own, plots=True, PYTHONPATH=str(own / "hidden"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no plots: matplotlib is not installed (pip install 'offloop[bench]')" in done.stderr
    rows = told(results(own / "out"))
    assert rows["aiohttp, hashlib inline"]["detail"] == "aiohttp is not installed (pip install 'offloop[bench]')"
    assert rows["offloop, await each"]["status"] == "ok"
    assert "Pillow, which also makes and checks the pictures, is not installed (pip install 'offloop[bench]')" in (
        " ".join(done.stdout.split())
    )
