"""Context variables: everyone continues in their own context, and nobody's context is kept alive."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, Gate, until

import offloop

variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=None)


async def test_each_task_continues_in_its_own_context() -> None:
    async def work(number: int) -> bool:
        variable.set(number)
        for _ in range(3):
            if await offloop.sha256(DATA) != DIGEST or variable.get() != number:
                return False
            variable.set(number)
        return True

    assert all(await asyncio.gather(*(work(number) for number in range(50))))
    assert variable.get() is None


async def test_three_waiters_of_one_operation_continue_each_in_its_own_context() -> None:
    with Gate() as gate:
        operation = gate.operation()

        async def wait(number: int) -> int:
            variable.set(number)
            await operation
            return int(variable.get())

        tasks = [asyncio.create_task(wait(number)) for number in range(3)]
        await asyncio.sleep(0)
        gate.open()
        assert await asyncio.gather(*tasks) == [0, 1, 2]


async def test_what_is_set_after_the_await_stays_in_the_task() -> None:
    async def work() -> None:
        await offloop.sha256(DATA)
        variable.set("inside")

    await asyncio.create_task(work())
    await offloop.sha256(DATA)
    assert variable.get() is None


class Request:
    """Stands for what a web framework keeps in a context variable."""


def test_the_loop_does_not_keep_the_first_requests_context_alive(loop_kind: str, make_runner: Any) -> None:
    with make_runner(loop_kind) as runner:
        reference: list[weakref.ref[Request]] = []

        async def first_request() -> None:
            request = Request()
            variable.set(request)
            reference.append(weakref.ref(request))
            await offloop.sha256(DATA)  # attaches the port to this loop

        async def main() -> None:
            await asyncio.create_task(first_request())
            await asyncio.sleep(0)
            gc.collect()
            assert reference[0]() is None
            assert await offloop.sha256(DATA) == DIGEST

        runner.run(main())


async def test_an_ended_operation_keeps_no_context_alive() -> None:
    kept: list[offloop.Operation[str]] = []
    reference: list[weakref.ref[Request]] = []

    async def request() -> None:
        value = Request()
        variable.set(value)
        reference.append(weakref.ref(value))
        kept.append(offloop.sha256(DATA))
        await kept[0]

    await asyncio.create_task(request())
    await asyncio.sleep(0)
    gc.collect()
    assert reference[0]() is None


@pytest.mark.parametrize("how", ["cancelled", "removed"])
async def test_a_cancelled_or_removed_waiter_leaves_no_context_behind(how: str) -> None:
    with Gate() as gate:
        operation = gate.operation()
        value = Request()
        reference = weakref.ref(value)
        context = contextvars.Context()
        context.run(variable.set, value)
        operation.add_done_callback(print, context=context)
        del value, context
        if how == "cancelled":
            operation.remove_done_callback(print)
            operation.cancel()
        else:
            operation.remove_done_callback(print)
        gc.collect()
        assert reference() is None
        gate.open()
        await until(operation.done)


async def test_a_callbacks_default_context_is_a_copy_of_the_current_one() -> None:
    seen: list[Any] = []

    def callback(_: object) -> None:
        seen.append(variable.get())
        variable.set("changed by the callback")

    operation = offloop.sha256(DATA)
    variable.set("at registration")
    operation.add_done_callback(callback)
    await operation
    await until(lambda: bool(seen))
    assert seen == ["at registration"]
    assert variable.get() == "at registration"
