"""How every Python test runs: on which event loops, with what must be true afterwards, and the local origin.

An `async def` test runs three times: on asyncio, on asyncio in debug mode and on uvloop. The tests of the bridge
(marker `every_loop`), and with --all-loops every test, run twice more: with eager tasks and with Python-level tasks.
--loops=asyncio leaves out all other kinds.
After every test the native objects must balance (in a build that counts them); a report to the loop's exception handler
fails it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from offloop.testing import Origin

# trio registers itself with hypothesis in a way that hypothesis warns of.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")

LOOP_KINDS = ("asyncio", "debug", "uvloop")
# asyncio's loop with other tasks: started inside create_task(), and those without C accelerator.
TASK_KINDS = ("eager", "pytask") if sys.version_info >= (3, 12) else ("pytask",)

# Made once a loop or a process, not once an operation: they outlive a test by design.
UNCOUNTED = {"ports", "threads"}
# The names of the core's threads that live as long as the process or until they are idle for long.
LASTING_THREADS = ("offloop-w", "offloop-read", "offloop-poll", "offloop-dns")


def pytest_addoption(parser: pytest.Parser) -> None:
    words = "fail at once if the installed offloop does not count its native objects"
    parser.addoption("--require-counters", action="store_true", help=words)
    words = "of the kinds of loop and of task that a test asks for, only these"
    parser.addoption("--loops", metavar="KIND,...", type=lambda text: text.split(","), default=None, help=words)
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")
    parser.addoption("--all-loops", action="store_true", help="run every async test on all kinds of loop and of task")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long") is not None]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item.get_closest_marker("long") is None]


def pytest_report_header() -> list[str]:
    missing = ["uvloop is not installed"] if uvloop is None else []
    missing += [] if "eager" in TASK_KINDS else ["eager tasks came with Python 3.12"]
    return [f"event loops: {', '.join(LOOP_KINDS + TASK_KINDS)}" + (f" ({'; '.join(missing)})" if missing else "")]


def pytest_sessionstart(session: pytest.Session) -> None:
    unknown = set(session.config.getoption("--loops") or ()) - {*LOOP_KINDS, *TASK_KINDS}
    if unknown:
        pytest.exit(f"--loops: there are no loops of kind {', '.join(sorted(unknown))}", 1)
    if session.config.getoption("--require-counters") and live_counts() is None:
        pytest.exit("this build of offloop does not count its native objects (make test-counters builds one)", 1)


def pytest_collection_finish(session: pytest.Session) -> None:
    for kind in LOOP_KINDS if uvloop is not None else LOOP_KINDS[:2]:
        with new_runner(kind) as runner:  # uvloop's first loop opens descriptors that stay
            runner.run(asyncio.sleep(0))
    if live_counts() is not None:
        wait_for_a_pipe()
    gc.collect()
    gc.freeze()  # modules and tests need not be walked again after each test


def wait_for_a_pipe() -> None:
    """Hashes one, so that what the core keeps for files without data is there before the first test counts."""
    from offloop import hashing

    async def hash_a_pipe() -> None:
        reading, writing = os.pipe()
        operation = hashing.file_hexdigest(f"/dev/fd/{reading}")
        while "offloop-poll" not in thread_names():
            await asyncio.sleep(0.001)
        os.close(writing)
        await operation
        os.close(reading)

    with new_runner("asyncio") as runner:
        runner.run(asyncio.wait_for(hash_a_pipe(), 30))


# ---- event loops -----------------------------------------------------------------------------------------------------


def new_runner(kind: str) -> asyncio.Runner:
    """A runner for one kind of loop, for sync tests that need more than one run or loop.

    Raises: pytest's skip when uvloop is asked for and missing.
    """
    if kind == "uvloop":
        if uvloop is None:
            pytest.skip("uvloop is not installed")
        return asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=False)
    if kind in ("eager", "pytask"):
        runner = PythonTasks if kind == "pytask" and sys.version_info >= (3, 14) else asyncio.Runner
        return runner(loop_factory=lambda: with_tasks(kind), debug=False)
    return asyncio.Runner(debug=kind == "debug")


class PythonTasks(asyncio.Runner):
    """While it runs or closes, current_task() knows Python-level tasks; since 3.14 the C one knows its own only."""

    def run(self, coro: Coroutine[Any, Any, Any], *, context: Any = None) -> Any:
        with knowing_both():
            return super().run(coro, context=context)

    def close(self) -> None:
        with knowing_both():
            super().close()


@contextlib.contextmanager
def knowing_both() -> Iterator[None]:
    of_python, of_c = asyncio.tasks._py_current_task, asyncio.tasks.current_task  # type: ignore[attr-defined]

    def current_task(loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[Any] | None:
        return of_python(loop) or of_c(loop)  # other loops in a test have tasks of the usual kind

    with pytest.MonkeyPatch.context() as patch:
        for module in (asyncio, asyncio.tasks):
            patch.setattr(module, "current_task", current_task)
        yield


def with_tasks(kind: str) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(python_task if kind == "pytask" else asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


def python_task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """A task as it is without the C accelerator, and in debuggers: its steps are Python functions."""
    task: asyncio.Task[Any] = asyncio.tasks._PyTask(coro, loop=loop, **options)  # type: ignore[attr-defined]
    return task


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not inspect.iscoroutinefunction(metafunc.function) and "loop_kind" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("loops")
    everywhere = metafunc.config.getoption("--all-loops") or metafunc.definition.get_closest_marker("every_loop")
    kinds = marker.args if marker else LOOP_KINDS + TASK_KINDS if everywhere else LOOP_KINDS
    unknown = set(kinds) - {*LOOP_KINDS, "eager", "pytask"}
    if unknown:
        raise ValueError(f"{metafunc.definition.nodeid}: there are no loops of kind {sorted(unknown)}")
    wanted = metafunc.config.getoption("--loops") or kinds
    kinds = [kind for kind in kinds if kind in wanted and (kind != "eager" or "eager" in TASK_KINDS)]
    if "loop_kind" not in metafunc.fixturenames:
        metafunc.fixturenames.append("loop_kind")
    metafunc.parametrize("loop_kind", kinds)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    reports: list[dict[str, Any]] = []
    with new_runner(str(pyfuncitem.callspec.params["loop_kind"])) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: reports.append(context))
        runner.run(function(**arguments))
        gc.collect()  # what was never retrieved is reported when it is collected: while the handler is still ours
    if reports and pyfuncitem.get_closest_marker("allow_loop_errors") is None:
        lines = "\n".join(f"  {report.get('message')}: {report.get('exception')!r}" for report in reports)
        pytest.fail(f"reported to the event loop's exception handler:\n{lines}")
    return True


# ---- balance ---------------------------------------------------------------------------------------------------------


def live_counts() -> dict[str, int] | None:
    """Live native objects, descriptors and threads by kind; None in a build that does not count."""
    try:
        from offloop import _core
    except ImportError:
        return None
    if not _core.counters_enabled():
        return None
    counts: dict[str, int] = _core.live_counts()
    native = {kind: count for kind, count in counts.items() if kind not in UNCOUNTED}
    return {
        **native,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "Python's threads": threading.active_count(),
        "native threads": sum(
            name.startswith("offloop-") and not name.startswith(LASTING_THREADS) for name in thread_names()
        ),
    }


def thread_names() -> list[str]:
    """The names of this process's threads, as the kernel has them."""
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
        except OSError:  # it has ended meanwhile
            pass
    return names


def settled(before: dict[str, int], seconds: float = 5.0) -> dict[str, str]:
    """Waits until nothing is alive that was not before, and returns what still is then: kind to "before -> after".

    A cancelled operation that was running lets go of its buffer when its worker really ends, later than its waiter.
    """
    deadline = time.monotonic() + seconds
    while True:
        gc.collect()
        after = live_counts() or {}
        leaked = {kind: f"{before[kind]} -> {after[kind]}" for kind in before if after[kind] > before[kind]}
        if not leaked or time.monotonic() > deadline:
            return leaked
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def native_objects_balance(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test after which native objects are alive that were not before."""
    before = live_counts()
    keepers = ("test_fetch", "test_bad_origin", "test_image", "test_isolation", "test_trace")
    if before is not None and request.path.name.startswith(keepers):
        # The process's own fetcher keeps connections and its thread, and idle decoders are kept for the next picture.
        before = {kind: count for kind, count in before.items() if kind not in ("descriptors", "native threads")}
    yield
    if before is None or request.node.get_closest_marker("allow_live_objects") is not None:
        return
    leaked = settled(before)
    assert not leaked, f"native objects do not balance: {leaked}"


# ---- the origin ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    """The embedded HTTP server, in a process of its own, for all tests of a run."""
    testing = pytest.importorskip("offloop.testing")
    with testing.Origin() as running:
        yield running


@pytest.fixture(scope="session")
def make_runner() -> Callable[[str], asyncio.Runner]:
    """new_runner, for tests that make their own loops: `with make_runner(loop_kind) as runner: ...`"""
    return new_runner
