"""The figures in README.md, docs/performance*.md and docs/claims.md are those of bench/results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_hold_the_stored_results() -> None:
    pytest.importorskip("offloop")
    done = subprocess.run(
        [sys.executable, "bench/micro/report.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_result_was_a_full_run_and_has_its_place_on_a_page() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("performance*.md"))
    places = re.findall(r"<!-- results: ([\w./-]+) -->", pages)
    results = ROOT / "bench" / "results"
    stored = {path.relative_to(results).with_suffix("").as_posix(): path for path in results.rglob("*.json")}
    assert "suite" in places
    for name, path in stored.items():
        if path.stem not in ("suite", "open_loop"):  # which may be the quick form, and say so
            assert json.loads(path.read_text())["quick"] is False
        assert places.count(name) == 1, name
