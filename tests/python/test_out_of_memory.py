"""Every C++ allocation of an operation fails in its turn, once and for ever: MemoryError, no crash, no leak."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from bridge_helpers import PROGRAMS, assert_clean, run_program

SOURCE = Path(__file__).parents[1] / "support" / "failing_new.cpp"
SCENARIOS = re.findall(r"^async def (\w+)\(\) -> None:", (PROGRAMS / "out_of_memory.py").read_text(), re.MULTILINE)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    # nanobind then keeps its objects in many tables, any of which may have to grow, and ends the process if it cannot.
    SCENARIOS = [name for name in SCENARIOS if not re.search("fetch|picture|sheet", name)]


@pytest.fixture(scope="module")
def failing_new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes allocations fail, compiled."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler here")
    library = tmp_path_factory.mktemp("failing_new") / "failing_new.so"
    subprocess.run([compiler, "-std=c++20", "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


@pytest.mark.parametrize("how", ["once", "forever"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_allocation_may_fail(scenario: str, how: str, failing_new: Path) -> None:
    options = ("-W", "ignore::DeprecationWarning")  # of fork() beside threads
    ended = run_program(
        "out_of_memory", scenario, how, env={"LD_PRELOAD": str(failing_new)}, options=options, timeout=55
    )
    assert_clean(ended)
