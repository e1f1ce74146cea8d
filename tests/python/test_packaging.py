"""What is installed: stable-ABI modules that keep to it, nothing of one machine, a pool that fits the CPUs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import offloop

INSTALLED = Path(offloop.__file__).parent
ABI3AUDIT = Path(sys.executable).with_name("abi3audit")


def modules() -> list[Path]:
    return sorted(INSTALLED.glob("_*.so"))


@pytest.mark.parametrize("name", ["_core", "_ext", "_image"])
def test_a_stable_abi_module_uses_nothing_beyond_the_stable_abi(name: str) -> None:
    (module,) = INSTALLED.glob(f"{name}*.so")
    if not module.name.endswith(".abi3.so"):
        pytest.skip(f"{module.name} is for one version of CPython only")
    if not ABI3AUDIT.exists():
        pytest.skip("abi3audit is not installed")
    command = [ABI3AUDIT, "--strict", "--verbose", "--assume-minimum-abi3", "3.12", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_modules_are_of_one_kind() -> None:
    suffixes = {module.name.split(".", 1)[1] for module in modules()}
    assert len(modules()) == 3
    assert len(suffixes) == 1, suffixes


def test_our_libraries_are_found_beside_the_modules() -> None:
    for module in modules():
        needed = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
        assert "not found" not in needed
        ours = re.findall(r"(liboffloop\S*) => (\S+)", needed)
        assert ours, needed
        assert all(Path(path).parent.resolve() == INSTALLED.resolve() for _, path in ours), needed


def test_the_module_exports_its_entry_point_only() -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    for module in modules():
        listed = subprocess.run(["nm", "-D", "--defined-only", module], capture_output=True, text=True, check=True)
        names = {line.split()[-1] for line in listed.stdout.splitlines()}
        entry = f"PyInit_{module.name.split('.')[0]}"
        assert entry in names
        assert not {name for name in names if name.startswith("Py") and name != entry}


def test_importing_leaves_the_gil_as_it_was() -> None:
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter always has the GIL")
    code = "import sys, offloop, offloop.fetch; assert not sys._is_gil_enabled()"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this process may use one CPU only")
def test_the_pool_has_as_many_workers_as_the_process_may_use_cpus() -> None:
    code = (
        "import asyncio, offloop; asyncio.run(offloop.sha256(bytes(1_000_000)));"
        "print(offloop.stats()['threads'], offloop.build_info()['default_threads'], offloop.configure()['max_pending'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OFFLOOP_THREADS"}
    cpus = sorted(os.sched_getaffinity(0))

    def answer(*prefix: str) -> list[int]:
        command = [*prefix, sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
        return [int(word) for word in done.stdout.split()]

    one = answer("taskset", "-c", str(cpus[0]))
    two = answer("taskset", "-c", f"{cpus[0]},{cpus[1]}")
    assert one == [1, 1, 1024]
    # A cgroup quota may allow less than the mask does.
    assert two in ([2, 2, 2048], [1, 1, 1024])
    assert two[0] == min(2, answer()[0])
