"""Runs the Python tests on every CPython that offloop serves, and prints one row for each.

One cp312-abi3 wheel is built once and installed unchanged for 3.12 and later; 3.11 and free-threaded interpreters get
wheels of their own. An interpreter that cannot be had is a row that says why.

usage: matrix.py [--ends] [--done PYTHON] [--fetch] [--free-threaded PYTHON]... [-- PYTEST ARGUMENTS]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import requirements
from interpreters import VERSIONS, Interpreter, find, probe

ROOT = Path(__file__).resolve().parents[2]
# What tests do without where an interpreter is too new for a wheel of it.
OPTIONAL = ("uvloop", "numpy", "aiohttp", "blake3", "matplotlib", "pillow", "pyvips")
FOLDER = ROOT / "build" / "matrix"
SECONDS = int(os.environ.get("PYTEST_SECONDS", "1800"))  # a whole row; a hang inside native code ends in SIGABRT


@dataclass
class Row:
    name: str
    interpreter: Interpreter | None = None
    wheel: Path | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""
    failed: bool = False


class StepFailed(Exception):
    """A command of the preparation failed; its output has been shown."""


def run(*command: str | Path, show_failure: bool = True) -> None:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        if show_failure:
            print(done.stdout[-6000:], flush=True)
        raise StepFailed(" ".join(str(word) for word in command[:6]))


# ---- what is to be run -----------------------------------------------------------------------------------------------


def choose(options: argparse.Namespace) -> list[Row]:
    rows = []
    for version in () if options.free_threaded_only else VERSIONS:
        found = find(version, fetch=options.fetch)
        rows.append(Row(version, note=found) if isinstance(found, str) else Row(version, found))
    if options.ends:
        there = [row for row in rows if row.interpreter is not None]
        rows = list({row.name: row for row in (*there[:1], *there[-1:])}.values())
    for path in options.free_threaded:
        interpreter = probe(path)
        if isinstance(interpreter, str):
            rows.append(Row("free-threaded", note=interpreter, failed=True))
        elif not interpreter.free_threaded:
            rows.append(Row("free-threaded", note=f"{path} has the GIL", failed=True))
        else:
            rows.append(Row(interpreter.row, interpreter))
    if options.done:
        done = probe(options.done)
        if isinstance(done, str):
            sys.exit(f"--done: {done}")
        rows = [row for row in rows if row.name != done.row]
    return rows


# ---- wheels and environments -----------------------------------------------------------------------------------------


def abi(interpreter: Interpreter) -> str:
    if interpreter.free_threaded:
        return f"cp{interpreter.version.replace('.', '')}t"
    return "cp311" if interpreter.version == "3.11" else "abi3"


def environment(row: Row) -> Path:
    """The row's virtual environment, with everything but offloop in it."""
    assert row.interpreter is not None
    venv = FOLDER / row.name
    run(ROOT / "tools" / "dev" / "venv", row.interpreter.path, venv)
    wanted = requirements.of("build-system", "dependencies", "test", "bench")
    stamp = venv / ".requirements"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        python = venv / "bin" / "python"
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--prefer-binary")
        optional = [one for one in wanted if one.startswith(OPTIONAL)]
        run(*pip, *(one for one in wanted if one not in optional))
        missing = []
        for one in optional:  # what has no wheel for a new or a free-threaded interpreter is left out, and said
            try:
                run(*pip, "--only-binary=:all:", one, show_failure=False)
            except StepFailed:
                missing.append(one)
        (venv / ".missing").write_text(", ".join(missing))
        stamp.write_text("\n".join(wanted))
    missing_text = (venv / ".missing").read_text()
    row.note = f"without {missing_text}: no wheel for it" if missing_text else ""
    return venv


def build_wheel(row: Row, venv: Path, jobs: str) -> Path:
    assert row.interpreter is not None
    kind = abi(row.interpreter)
    folder = FOLDER / "wheels" / kind
    shutil.rmtree(folder, ignore_errors=True)
    print(f"offloop: building the {kind} wheel with CPython {row.interpreter.release}", flush=True)
    os.environ["CMAKE_BUILD_PARALLEL_LEVEL"] = jobs
    settings = ("--config-settings=build-dir=build/matrix-{wheel_tag}",)
    pip = (venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    run(*pip, "--no-deps", "--no-build-isolation", *settings, "--wheel-dir", folder, ".")
    (wheel,) = folder.glob("*.whl")
    if f"-{kind}-" not in wheel.name and f"-{kind}-{kind}-" not in wheel.name:
        raise StepFailed(f"{wheel.name} is not the {kind} wheel that was to be built")
    return wheel


def install(row: Row, venv: Path) -> None:
    assert row.wheel is not None
    pip = (venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--force-reinstall", row.wheel)


# ---- tests -----------------------------------------------------------------------------------------------------------


def run_tests(row: Row, venv: Path, arguments: list[str]) -> None:
    report, log = FOLDER / f"{row.name}.xml", FOLDER / f"{row.name}.log"
    report.unlink(missing_ok=True)
    command = ["timeout", "--signal=ABRT", "--kill-after=10", str(SECONDS)]
    command += [str(venv / "bin" / "python"), "-m", "pytest"]
    command += [f"--basetemp={FOLDER / row.name}-tmp", f"--junitxml={report}", *arguments]
    started = time.monotonic()
    with log.open("w") as output:
        status = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    row.seconds = time.monotonic() - started
    lines = log.read_text(errors="replace").splitlines()
    row.failed = status != 0
    if report.exists():
        suite = ElementTree.parse(report).getroot().find("testsuite")
        assert suite is not None
        numbers = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        row.counts = {"failed": numbers["failures"] + numbers["errors"], "skipped": numbers["skipped"]}
        row.counts["passed"] = numbers["tests"] - sum(row.counts.values())
        row.failed = row.failed or row.counts["passed"] == 0
    if row.failed:
        print("\n".join(lines[-120:]))
        row.note = f"exit status {status}, all output in {log.relative_to(ROOT)}"
    print(f"offloop: {row.name}: {lines[-1] if lines else 'no output'}", flush=True)


def audit(wheel: Path, venv: Path) -> Row:
    """abi3audit over the whole wheel: no symbol beyond the stable ABI of the version in its tag."""
    row = Row("audit", wheel=wheel, note="abi3audit --strict: clean")
    done = subprocess.run(
        [venv / "bin" / "abi3audit", "--strict", "--report", wheel], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout[-6000:], done.stderr[-2000:])
        row.failed, row.note = True, "abi3audit --strict found violations, see above"
    return row


def show(rows: list[Row]) -> None:
    print(f"\n{'row':<7}{'CPython':<10}{'wheel':<14}{'passed':>7}{'failed':>7}{'skipped':>8}{'time':>7}  note")
    for row in rows:
        release = row.interpreter.release if row.interpreter else "-"
        tag = "-".join(row.wheel.name.split("-")[2:4]) if row.wheel else "-"
        numbers = [str(row.counts.get(key, "-")) for key in ("passed", "failed", "skipped")]
        seconds = f"{row.seconds:.0f} s" if row.counts else "-"
        note = row.note if row.wheel else f"skipped: {row.note}"
        result = f"{'FAILED ' if row.failed else ''}{note}".strip()
        print(f"{row.name:<7}{release:<10}{tag:<14}{numbers[0]:>7}{numbers[1]:>7}{numbers[2]:>8}{seconds:>7}  {result}")
    print(flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ends", action="store_true", help="only the oldest and the newest that are found")
    parser.add_argument("--done", metavar="PYTHON", help="leave out the row of this interpreter: it has been tested")
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing from Debian's archive")
    parser.add_argument("--free-threaded", metavar="PYTHON", action="append", default=[])
    parser.add_argument("--free-threaded-only", action="store_true", help="no other rows than those of --free-threaded")
    parser.add_argument("--jobs", default=str(os.cpu_count() or 1))
    parser.add_argument("pytest", nargs="*")
    options = parser.parse_args()

    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = choose(options)
    wheels: dict[str, Path] = {}
    audits = []
    for row in rows:
        if row.interpreter is None:
            continue
        try:
            venv = environment(row)
            kind = abi(row.interpreter)
            if kind not in wheels:
                wheels[kind] = build_wheel(row, venv, options.jobs)
                if kind == "abi3":
                    audits.append(audit(wheels[kind], venv))
            row.wheel = wheels[kind]
            install(row, venv)
        except StepFailed as error:
            row.failed, row.note = True, f"could not be prepared: {error}"
            continue
        print(f"== Python tests: CPython {row.interpreter.release}, {row.wheel.name}", flush=True)
        run_tests(row, venv, options.pytest)
    show(rows + audits)
    return 1 if any(row.failed for row in rows + audits) else 0


if __name__ == "__main__":
    sys.exit(main())
