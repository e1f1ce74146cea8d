"""What a C++ function throws on a worker arrives as the Python exception that fits, and harms nobody else."""

from __future__ import annotations

import asyncio
import errno

import pytest
from bridge_helpers import DATA, DIGEST, until

import offloop
from offloop import _core

KINDS = {
    "bad_alloc": MemoryError,
    "system_error": OSError,
    "runtime_error": offloop.OffloopError,
    "int": offloop.OffloopError,
}


def thrown(kind: str) -> offloop.Operation[None]:
    operation: offloop.Operation[None] = _core._throw(kind)  # type: ignore[attr-defined]
    return operation


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_becomes_its_class(kind: str) -> None:
    with pytest.raises(KINDS[kind]) as caught:
        await thrown(kind)
    assert type(caught.value) is KINDS[kind]


async def test_the_words_of_the_exception_are_kept() -> None:
    with pytest.raises(offloop.OffloopError, match=r"^no such luck$"):
        await thrown("runtime_error")
    with pytest.raises(offloop.OffloopError, match="no std::exception"):
        await thrown("int")


async def test_a_system_error_keeps_its_errno_and_its_words() -> None:
    with pytest.raises(OSError, match="writing: No space left on device") as caught:
        await thrown("system_error")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename is None


async def test_thrown_side_by_side_each_waiter_gets_its_own_exception() -> None:
    kinds = [*KINDS] * 25
    results = await asyncio.gather(*map(thrown, kinds), return_exceptions=True)
    assert [type(result) for result in results] == [KINDS[kind] for kind in kinds]
    assert len({id(result) for result in results}) == len(kinds)
    assert await offloop.sha256(DATA) == DIGEST  # the workers are alive


async def test_in_a_task_group_they_are_an_exception_group() -> None:
    async def waits(operation: offloop.Operation[None]) -> None:
        await asyncio.sleep(0)  # 3.12's group hears at once of an eager task that fails while it is made
        await operation

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            failing = [thrown(kind) for kind in KINDS]  # all have failed before the group hears of the first
            await until(lambda: all(operation.done() for operation in failing))
            for operation in failing:
                group.create_task(waits(operation))
    assert {type(error) for error in caught.value.exceptions} == set(KINDS.values())
    assert len({id(error) for error in caught.value.exceptions}) == len(KINDS)


async def test_an_unknown_kind_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        thrown("something else")
