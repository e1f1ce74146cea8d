"""The hash table in two interpreters in turn, this one and that of --beside: does one take longer for the same work?

Each measures in a process of its own, which sleeps while the other one works; offloop is installed in both.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import harness
from harness import Loop, Report, Row
from hash_table import CASES, KIB, hash_here, inline

import offloop

WORKS: dict[str, harness.Work] = {"hashlib inline": inline, "offloop.sha256": offloop.sha256}
_SERVE = "--serve"


class Interpreter:
    """A process that measures what it is asked for."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, __file__, _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about: dict[str, Any] = self._answer()

    def measure(self, question: list[Any]) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        seconds: float = self._answer()
        return seconds

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[0]} ended: is offloop installed there?")  # type: ignore[index]
        return json.loads(line)

    def end(self) -> None:
        self._process.communicate()


@contextmanager
def interpreters(*pythons: str) -> Iterator[list[Interpreter]]:
    """Start them, and end them in any case."""
    started: list[Interpreter] = []
    try:
        for python in pythons:
            started.append(Interpreter(python))
        yield started
    finally:
        for interpreter in started:
            interpreter.end()


def serve() -> None:
    """Answer lines of [case, work, divisor of the count] with seconds, until standard input ends."""
    threading = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    options = shlex.split(sysconfig.get_config_var("CONFIG_ARGS") or "")
    about = {
        "name": f"{sys.version_info.major}.{sys.version_info.minor}{threading}",
        "release": sys.version.split()[0],
        "configured": [option for option in options if "/" not in option],  # folders are nobody's business
        "optimised": sysconfig.get_config_var("OPT"),
    }
    print(json.dumps(about), flush=True)
    made: tuple[int, int] | None = None
    payloads: list[bytes] = []
    expected: list[str] = []
    with Loop() as loop:
        for line in sys.stdin:
            index, work, shrink = json.loads(line)
            if made != (index, shrink):
                made = (index, shrink)
                count, size, *_ = CASES[index]
                payloads = []  # before the next: both cases at once may be 2 GB
                payloads = harness.payloads(max(20, count // shrink), size)
                expected = [hash_here(payload) for payload in payloads]
            print(loop.run(harness.one_task_each(WORKS[work], payloads, expected)), flush=True)


def case(index: int, one: Interpreter, other: Interpreter, repeats: int, shrink: int) -> Row:
    count, size, *_ = CASES[index]
    contenders: dict[str, harness.Contender] = {}
    for interpreter in (one, other):
        for work in WORKS:
            name = f"{interpreter.about['name']}: {work}"
            contenders[name] = lambda i=interpreter, w=work: i.measure([index, w, shrink])  # type: ignore[misc]
    row = harness.measure(f"{max(20, count // shrink)} x {size // KIB} KB", "s", contenders, repeats)
    here, there = one.about["name"], other.about["name"]
    row.compare(f"{there}: hashlib inline", f"{here}: hashlib inline")
    ratio = row.ratio(f"{there}: offloop.sha256", f"{here}: offloop.sha256")
    row.demand(f"{there}: offloop.sha256 / {here}: offloop.sha256", ratio, 1.0, at_least=False)
    return row


def main() -> None:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--beside", metavar="PYTHON")
    options.add_argument(_SERVE, action="store_true")
    own, sys.argv[1:] = options.parse_known_args()
    if own.serve:
        serve()
        return
    given = harness.arguments(__doc__, repeats=15)
    if own.beside is None:
        raise SystemExit("expected --beside PYTHON, another interpreter with offloop")
    with interpreters(sys.executable, own.beside) as (one, other):
        if one.about["name"] == other.about["name"]:
            raise SystemExit(f"expected two interpreters, got {one.about['name']} twice")
        report = Report("two_interpreters", given)
        report.facts = {"interpreters": [one.about, other.about]}
        for index in range(len(CASES)):
            report.add(case(index, one, other, given.repeats, shrink=20 if given.quick else 1))
        report.finish()


if __name__ == "__main__":
    main()
