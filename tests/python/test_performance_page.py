"""The figures in README.md, docs/performance.md and docs/claims.md are those of bench/results."""

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


def test_every_result_was_a_full_run_and_has_its_place_on_the_page() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    places = set(re.findall(r"<!-- results: ([\w.-]+) -->", page))
    assert "suite" in places
    for path in (ROOT / "bench" / "results").glob("*.json"):
        if path.stem != "suite":  # which is the quick form, and says so
            assert json.loads(path.read_text())["quick"] is False
        assert path.stem in places
