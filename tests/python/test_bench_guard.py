"""The judgement of `make bench-guard`, and how it reads what callgrind wrote; counting itself takes a minute."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

MICRO = Path(__file__).resolve().parents[2] / "bench" / "micro"

# Two functions of one library and one of another; the line after "calls=" is the callee's inclusive cost.
CALLGRIND = """\
events: Ir
ob=/lib/liboffloop.so.0
fl=???
fn=offloop::drain()
10 100
11 20
calls=1 50
12 9999
13 5
ob=/lib/libc.so.6
fn=memcpy
20 7
ob=/lib/liboffloop.so.0
fn=offloop::hash::sha256_avx2_x8()
30 1000
"""


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(MICRO))
    yield importlib.import_module("guard")
    for name in ("guard", "callgrind"):
        sys.modules.pop(name, None)


def test_own_instructions_are_read_and_the_hash_functions_left_out(guard: ModuleType, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"out-{number:02}").write_text(CALLGRIND)
    one = guard.callgrind.of_thread(tmp_path / "out", 1)
    assert one == Counter(
        {
            ("liboffloop.so.0", "offloop::drain()"): 125,
            ("libc.so.6", "memcpy"): 7,
            ("liboffloop.so.0", "offloop::hash::sha256_avx2_x8()"): 1000,
        }
    )
    assert guard.ours(one) == 125
    assert guard.ours(guard.callgrind.of_all_threads(tmp_path / "out")) == 250


@pytest.mark.parametrize(
    ("counted", "word", "good"),
    [(100, "ok", True), (104.9, "ok", True), (105.1, "WORSE", False), (94, "better", True), (0, "LOST", False)],
)
def test_a_figure_above_the_tolerance_fails_the_guard(guard: ModuleType, counted: float, word: str, good: bool) -> None:
    (line,), held = guard.judged({"drain": counted}, {"drain": 100.0}, 0.05)
    assert (line.split()[0], held) == (word, good)


def test_a_figure_that_nobody_counts_any_more_is_lost(guard: ModuleType) -> None:
    lines, held = guard.judged({"drain": 100.0}, {"drain": 100.0, "submit": 50.0}, 0.05)
    assert not held
    assert [line.split()[0] for line in lines] == ["LOST", "ok"]


def test_the_stored_figures_are_those_that_are_counted(guard: ModuleType) -> None:
    stored = json.loads(guard.STORED.read_text())
    assert stored
    for figures in stored.values():
        assert {name.split(",")[0] for name in figures} >= {"submit", "drain", "portable kernel"}
        assert all(value > 0 for value in figures.values())
