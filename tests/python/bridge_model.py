"""A model of what operations promise, and the real thing beside it: one step does something to both and compares them.

Steps are chosen by numbers, so that hypothesis (test_model.py) and a seeded random generator (soak.py) can drive the
same machine. What is not determined is when the native side ends something; everything else is: an operation ends
exactly once, in its own value, its own error, or cancelled if and only if a cancel() was told so; callbacks are called
once; nothing is lost when loops close, processes fork or references are dropped; in the end all is free.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge_helpers import PATIENCE_S, Gate, block_until, resizable, settings

import offloop
from offloop import Operation, hashing
from offloop.testing import spin

MISSING = "/nowhere/at/all"
MOST_HANDLES = 60
MOST_GATES = 2


class Choose:
    """The numbers that decide one step, smallest first so that hypothesis can shrink them."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.below = draw

    def one(self, things: Any) -> Any:
        return things[self.below(len(things))]


@dataclass(eq=False)
class Handle:
    """One operation and what is known of it."""

    operation: Operation[Any]
    kind: str
    expected: Any  # its value, or the class of its error
    buffer: bytearray | None = None
    gate: Gate | None = None
    unbound: bool = False
    told: str = ""  # "cancelled" or "stands", once a cancel() has said so
    may_be_cancelled: bool = False  # by way of a task, a timeout or a loop's end, whose words are nobody's promise
    orphan: bool = False  # its loop is closed: it ends, and nobody is told
    callbacks: int = 0
    called: int = 0
    waiters: list[asyncio.Task[Any]] = field(default_factory=list)

    def check(self) -> None:
        operation = self.operation
        if self.told == "cancelled":
            assert operation.done(), f"{self}: cancelled and not done"
            assert operation.cancelled(), f"{self}: cancel() said True, and it is not cancelled"
        assert self.called <= self.callbacks, f"{self}: {self.called} calls of {self.callbacks} callbacks"
        if not operation.done():
            return
        if operation.cancelled():
            assert self.told == "cancelled" or self.may_be_cancelled, f"{self}: cancelled, and nobody did"
            return
        self.check_outcome()

    def check_outcome(self) -> None:
        error = self.operation.exception()
        if error is None:
            assert self.operation.result() == self.expected, f"{self}: a wrong value"
        elif isinstance(error, offloop.PoolSaturatedError):
            assert self.unbound, f"{self}: was taken, and then refused"
        elif self.orphan:
            assert isinstance(error, RuntimeError | OSError), f"{self}: {error!r}"
        else:
            assert isinstance(self.expected, type), f"{self}: {error!r}"
            assert isinstance(error, self.expected), f"{self}: {error!r}"


def digest(algorithm: str, data: bytes | bytearray) -> str:
    return hashlib.new(algorithm, data).hexdigest()


class Model:
    """The steps, and the state they act on. Not inside a running loop: each step turns the loop itself."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self.new_loop = new_loop
        self.handles: list[Handle] = []
        self.leaving: list[asyncio.Task[Any]] = []  # of forgotten handles; their loop waits for them
        self.gates: list[Gate] = []
        self.opened: list[Gate] = []
        self.reports: list[dict[str, Any]] = []
        self.steps = 0
        self.stack = settings(threads=2)
        self.stack.__enter__()
        self.open_loop()

    # ---- the machine ----

    def step(self, name: str, choose: Choose) -> None:
        """One step by its name, and the comparison."""
        with warnings.catch_warnings():
            # Of unbound operations that are dropped; of fork, since 3.12.
            warnings.simplefilter("ignore")
            getattr(self, name)(choose)
            while len(self.handles) > MOST_HANDLES:
                self.forget(self.handles[0])
        for handle in self.handles:
            handle.check()
        self.steps += 1
        if self.steps % 50 == 0:
            self.close_gates()
            assert offloop.stats()["in_flight"] < 1 << 20, offloop.stats()["in_flight"]
        assert not self.reports, self.reports

    def end(self) -> None:
        """Everything is let go of; then nothing must be left."""
        buffers = [handle.buffer for handle in self.handles if handle.buffer is not None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.let_go_of_all()
        for gate in self.opened:
            gate.close()
        block_until(self.all_free, "everything to be free")
        assert all(map(resizable, buffers))
        assert not self.reports, self.reports
        self.stack.__exit__(None, None, None)

    def let_go_of_all(self) -> None:
        self.open_gates()
        self.run(self.settle())
        for handle in self.handles:
            handle.check()
            if handle.operation.done() and not handle.orphan:
                assert handle.called == handle.callbacks, f"{handle}: {handle.called} of {handle.callbacks} called"
        for handle in self.handles[:]:
            self.forget(handle)
        self.close_loop(None)
        self.loop.run_until_complete(offloop.sha256(bytearray(100_000)))
        self.loop.close()
        gc.collect()

    def all_free(self) -> bool:
        stats = offloop.stats()
        gc.collect()
        return not any(stats[name] for name in ("in_flight", "parked", "queued", "running"))

    async def settle(self) -> None:
        """Until all that is bound to this loop has ended and every callback has been called."""
        # The port of this loop may not have been made yet; making it finds loops that are closed, but held by somebody,
        # and lets go of what is parked there.
        offloop.sha256(b"hashed at once, whatever waits")
        deadline = time.monotonic() + PATIENCE_S
        mine = [handle for handle in self.handles if not handle.orphan and not handle.unbound]
        while any(not h.operation.done() or h.called < h.callbacks for h in mine) or offloop.stats()["parked"]:
            late = [h for h in mine if not h.operation.done() or h.called < h.callbacks]
            assert time.monotonic() < deadline, (late, offloop.stats())
            await asyncio.sleep(0)

    def open_loop(self) -> None:
        self.loop = self.new_loop()

        def report(_: object, context: dict[str, Any]) -> None:
            if "never retrieved" not in context["message"]:  # of errors that were dropped unseen
                self.reports.append(context)

        self.loop.set_exception_handler(report)

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def add(self, handle: Handle) -> None:
        self.handles.append(handle)

    def forget(self, handle: Handle) -> None:
        self.handles.remove(handle)
        for task in handle.waiters:
            task.cancel()
        self.leaving = [task for task in (*self.leaving, *handle.waiters) if not task.done()]
        if handle.gate in self.gates:
            self.gates.remove(handle.gate)
            self.open_one(handle.gate)

    def pick(self, choose: Choose, which: Callable[[Handle], bool] = lambda _: True) -> Handle | None:
        found = [handle for handle in self.handles if which(handle)]
        return choose.one(found) if found else None

    def mine(self, choose: Choose) -> Handle | None:
        """One that may be awaited on this loop."""
        return self.pick(choose, lambda handle: not handle.orphan)

    def open_gates(self) -> None:
        """Before anything is waited for: closed gates may hold all slots and all readers."""
        for gate in self.gates:
            self.open_one(gate)
        self.gates.clear()

    def open_one(self, gate: Gate) -> None:
        """Its end that is read stays until nobody can read it any more."""
        gate.open()
        self.opened.append(gate)

    def close_gates(self) -> None:
        used = {id(handle.gate) for handle in self.handles if not handle.operation.done()}
        for gate in [gate for gate in self.opened[:-50] if id(gate) not in used]:
            self.opened.remove(gate)
            gate.close()

    # ---- submitting ----

    KINDS = ("message", "small", "large", "other", "file", "missing", "many", "spin", "stubborn", "gate")

    def make(self, choose: Choose) -> Handle:
        kind = choose.one(self.KINDS)
        buffer = bytearray([choose.below(256)]) * (choose.below(64) * 40 + 1)
        if kind == "large":
            buffer = buffer[:200] * 2000
        if kind in ("message", "large"):
            return Handle(offloop.sha256(buffer), kind, digest("sha256", buffer), buffer)
        if kind == "small":
            return Handle(offloop.sha256(bytes(buffer)), kind, digest("sha256", buffer))
        if kind == "other":
            algorithm = choose.one(("md5", "sha512", "sha3_256"))
            return Handle(hashing.hexdigest(buffer, algorithm), kind, digest(algorithm, buffer), buffer)
        if kind == "file":
            return Handle(hashing.file_hexdigest("/dev/null"), kind, digest("sha256", b""))
        if kind == "missing":
            return Handle(hashing.file_hexdigest(MISSING), kind, FileNotFoundError)
        if kind == "many":
            count = choose.below(40)
            return Handle(offloop.sha256_many([buffer] * count), kind, [digest("sha256", buffer)] * count, buffer)
        if kind == "gate" and len(self.gates) < MOST_GATES:
            gate = Gate()
            self.gates.append(gate)  # also when the operation is refused
            return Handle(gate.operation(), kind, digest("sha256", b""), gate=gate)
        return Handle(spin(choose.below(4) / 1000, cooperative=kind != "stubborn"), kind, None)

    def submit(self, choose: Choose) -> None:
        async def work() -> None:
            for _ in range(choose.below(4) + 1):
                try:
                    self.add(self.make(choose))
                except offloop.PoolSaturatedError:
                    assert offloop.configure()["when_full"] == "raise"

        self.run(work())

    def submit_without_a_loop(self, choose: Choose) -> None:
        handle = self.make(choose)
        handle.unbound = True
        self.add(handle)

    # ---- waiting ----

    def turn(self, choose: Choose) -> None:
        async def work() -> None:
            for _ in range(choose.below(5)):
                await asyncio.sleep(0)

        self.run(work())

    async def outcome(self, handle: Handle) -> None:
        """Awaits it and compares. Whatever it raises is what its check knows of."""
        raised: BaseException | None = None
        try:
            assert await handle.operation == handle.expected
        except asyncio.CancelledError:
            assert handle.operation.cancelled()
        except Exception as error:
            raised = error
        assert raised is None or raised is handle.operation.exception()
        handle.check()

    def wait(self, choose: Choose) -> None:
        handle = self.mine(choose)
        if handle is not None:
            self.open_gates()
            self.run(asyncio.wait_for(self.outcome(handle), PATIENCE_S))
            assert handle.operation.done()

    def wait_in_three_tasks(self, choose: Choose) -> None:
        handle = self.mine(choose)
        if handle is None:
            return
        self.open_gates()

        async def work() -> None:
            tasks = [asyncio.create_task(self.outcome(handle)) for _ in range(3)]
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)

        self.run(work())

    def gather(self, choose: Choose) -> None:
        handles = [handle for handle in (self.mine(choose) for _ in range(5)) if handle is not None]
        self.open_gates()

        async def work() -> None:
            gathered = asyncio.gather(*(handle.operation for handle in handles), return_exceptions=True)
            for handle, result in zip(handles, await asyncio.wait_for(gathered, PATIENCE_S), strict=True):
                if not isinstance(result, BaseException):
                    assert result == handle.expected

        self.run(work())

    def wait_in_the_background(self, choose: Choose) -> None:
        handle = self.mine(choose)
        if handle is not None:
            handle.waiters.append(self.loop.create_task(self.outcome(handle)))
            handle.waiters[:] = [task for task in handle.waiters if not task.done()]

    def call_back(self, choose: Choose) -> None:
        handle = self.pick(choose, lambda handle: not handle.orphan and not handle.unbound)
        if handle is None:
            return

        def called(operation: object) -> None:
            assert operation is handle.operation
            handle.called += 1

        def never(_: object) -> None:
            raise AssertionError("a callback that was removed is called")

        handle.callbacks += 1
        handle.operation.add_done_callback(called)
        if not handle.operation.done():
            handle.operation.add_done_callback(never)
            assert handle.operation.remove_done_callback(never) == 1

    # ---- cancelling ----

    def cancel(self, choose: Choose) -> None:
        handle = self.pick(choose)
        if handle is None:
            return
        was_done = handle.operation.done()
        said = handle.operation.cancel()
        assert not (was_done and said), f"{handle}: had ended, and was cancelled"
        if said:
            assert handle.told != "stands", f"{handle}: stood, and was cancelled"
            handle.told = "cancelled"
            if handle.buffer is not None and handle.kind != "many":
                assert handle.orphan or handle.operation.cancelled()
        elif not was_done:
            handle.told = "stands"

    def cancel_a_waiter(self, choose: Choose) -> None:
        handle = self.pick(choose, lambda handle: any(not task.done() for task in handle.waiters))
        if handle is None:
            return
        handle.may_be_cancelled = True
        task = choose.one([task for task in handle.waiters if not task.done()])
        task.cancel()
        self.run(asyncio.sleep(0))

    def time_out(self, choose: Choose) -> None:
        handle = self.mine(choose)
        if handle is None:
            return
        handle.may_be_cancelled = True

        async def work(seconds: float) -> None:
            try:
                assert await asyncio.wait_for(handle.operation, seconds) == handle.expected
            except (TimeoutError, asyncio.CancelledError, offloop.OffloopError, OSError):
                pass

        self.run(work(choose.one((0, 0.0005, 0.002))))

    # ---- dropping, closing, forking ----

    def drop(self, choose: Choose) -> None:
        handle = self.pick(choose)
        if handle is not None:
            self.forget(handle)

    def collect_garbage(self, choose: Choose) -> None:
        gc.collect(choose.below(3))

    def open_a_gate(self, choose: Choose) -> None:
        if self.gates:
            gate = choose.one(self.gates)
            self.gates.remove(gate)
            self.open_one(gate)

    def change_the_settings(self, choose: Choose) -> None:
        offloop.configure(max_pending=choose.one((1, 2, 8, 2048)), when_full=choose.one(("wait", "inline", "raise")))

    def close_loop(self, choose: Choose | None) -> None:
        """With whatever is in flight. Tasks are ended first, as asyncio.run() does."""

        async def end_tasks() -> None:
            waiters = [task for handle in self.handles for task in handle.waiters]
            tasks = [task for task in (*waiters, *self.leaving) if not task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.leaving.clear()

        for handle in self.handles:
            if handle.waiters:
                handle.may_be_cancelled = True
        self.run(end_tasks())
        self.loop.close()
        for handle in self.handles:
            handle.waiters.clear()
            if not handle.unbound or handle.operation._loop is not None:
                handle.orphan = handle.may_be_cancelled = True
                handle.callbacks = handle.called
        self.open_loop()

    def wait_on_the_wrong_loop(self, choose: Choose) -> None:
        handle = self.pick(choose, lambda handle: handle.orphan and not handle.operation.done())
        if handle is None:
            return

        async def work() -> str:
            try:
                await handle.operation
            except (RuntimeError, asyncio.CancelledError, OSError, offloop.OffloopError) as error:
                return str(error)
            return ""

        # It may be emptied out of its closed loop just now: then it is done, and there is nothing to wait for.
        said = self.run(work())
        assert "different loop" in said or handle.operation.done(), f"{handle}: awaited on a loop that is not its own"

    def fork(self, choose: Choose) -> None:
        """The child uses a pool of its own, cancels and drops what it has inherited, and ends."""
        victims = [choose.below(MOST_HANDLES) for _ in range(3)]
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(int(PATIENCE_S))
                self.in_the_child(victims)
                code = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"

    def in_the_child(self, victims: list[int]) -> None:
        offloop.configure(max_pending=100, when_full="wait")
        loop = self.new_loop()
        data = bytearray(100_000)
        for number in victims:
            if number < len(self.handles):
                self.handles[number].operation.cancel()
        assert loop.run_until_complete(offloop.sha256(data)) == digest("sha256", data)
        for number in sorted(victims, reverse=True):
            if number < len(self.handles):
                del self.handles[number]
        gc.collect()

        async def several() -> None:
            many = [offloop.sha256(data) for _ in range(10)]
            assert await asyncio.gather(*many) == [digest("sha256", data)] * 10

        loop.run_until_complete(several())
        assert offloop.stats()["in_flight"] == 0, offloop.stats()["in_flight"]


# How often each step is taken, relative to the others.
WEIGHTS = {
    "submit": 300,
    "submit_without_a_loop": 30,
    "turn": 120,
    "wait": 100,
    "wait_in_three_tasks": 25,
    "gather": 25,
    "wait_in_the_background": 60,
    "call_back": 60,
    "cancel": 100,
    "cancel_a_waiter": 40,
    "time_out": 50,
    "drop": 100,
    "open_a_gate": 40,
    "change_the_settings": 15,
    "collect_garbage": 5,
    "close_loop": 8,
    "wait_on_the_wrong_loop": 8,
    "fork": 3,
}
