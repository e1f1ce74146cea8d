"""Very many operations leave memory flat and reference counts unchanged, whichever way they end."""

from __future__ import annotations

import re

import pytest
from bridge_helpers import PROGRAMS, assert_clean, run_program

KINDS = re.findall(r"^async def (\w+)\(\) -> None:", (PROGRAMS / "leaks.py").read_text(), re.MULTILINE)
KINDS.remove("settle")


@pytest.mark.timeout(300)
def test_a_million_awaits_leave_memory_flat_and_references_unchanged() -> None:
    assert_clean(run_program("leaks", "values", 1_000_000, timeout=280))


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_end_leaves_memory_flat_and_references_unchanged(kind: str, loops: str) -> None:
    assert_clean(run_program("leaks", kind, 40_000, loop_kind=loops, timeout=55))
