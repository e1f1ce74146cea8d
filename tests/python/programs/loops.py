"""Many event loops in one process: closed with work in flight, in turn, side by side, nested, without add_reader."""

import asyncio
import gc
import mmap
import os
import sys
import threading
import time
import weakref

import offloop
from offloop import _core, hashing

GIGABYTE = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
DATA = bytes(range(256)) * 400
DIGEST = offloop.compute_sha256(DATA)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, (offloop.stats(), _core.live_counts())
        time.sleep(0.002)


def balanced() -> bool:
    gc.collect()
    counts = _core.live_counts()
    return offloop.stats()["in_flight"] == 0 and counts["operations"] == counts["buffers"] == counts["streams"] == 0


def closed_while_running() -> None:
    """1 and 100 operations run when asyncio.run() ends; buffers come back, and the next run works."""
    for count in (1, 100):
        buffer = bytearray(16_000_000)

        async def main(count: int = count, buffer: bytearray = buffer) -> None:
            for _ in range(count):
                hashing.digest(buffer, "sha3_512").as_task()
            while offloop.stats()["running"] == 0:
                await asyncio.sleep(0)

        asyncio.run(main())
        assert asyncio.run(offloop.sha256(DATA)) == DIGEST
        wait_until(balanced)
        buffer.append(0)


def closed_while_operations_are_kept() -> None:
    """Nobody cancelled them: they are reaped although their loop is closed and somebody still holds them."""
    kept = []

    async def main() -> None:
        kept.extend(offloop.sha256(GIGABYTE) for _ in range(3))
        kept.extend(offloop.sha256(DATA) for _ in range(3))

    asyncio.run(main())
    assert asyncio.run(offloop.sha256(DATA)) == DIGEST
    wait_until(lambda: all(operation.done() for operation in kept[3:]))
    assert {operation.result() for operation in kept[3:]} == {DIGEST}
    kept.clear()
    wait_until(balanced)


def closed_loop_is_forgotten() -> None:
    """Everything of a loop goes with the loop, also when operations were in flight and waited for."""
    before = descriptors()
    references = []
    for _ in range(10):
        loop = asyncio.new_event_loop()
        references.append(weakref.ref(loop))

        async def wait() -> None:
            await offloop.sha256(GIGABYTE)

        task = loop.create_task(wait())
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        del loop, task
    gc.collect()
    assert [reference() for reference in references] == [None] * 10
    wait_until(balanced)
    wait_until(lambda: descriptors() == before)


def pending_task_of_a_closed_loop() -> None:
    """A loop is closed while a task waits, without cancelling it: reaped by the next loop's first operation."""
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        await offloop.sha256(DATA * 50)

    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!" is asyncio's, and right
    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del loop, task
    wait_until(lambda: offloop.stats()["running"] == 0)
    assert asyncio.run(offloop.sha256(DATA)) == DIGEST
    wait_until(balanced)


def many_runs() -> None:
    asyncio.run(offloop.sha256(DATA))
    gc.collect()
    before = descriptors()
    for n in range(300):
        assert asyncio.run(offloop.sha256(DATA)) == DIGEST, n
    gc.collect()
    assert descriptors() <= before, (before, descriptors())
    assert _core.live_counts()["ports"] <= 1


def eight_threads() -> None:
    failures = []

    async def work(seed: int) -> None:
        for turn in range(10):
            payloads = [DATA[:20_000] + bytes([seed, turn, n]) for n in range(50)]
            results = await asyncio.gather(*map(offloop.sha256, payloads))
            if results != [offloop.compute_sha256(payload) for payload in payloads]:
                failures.append((seed, turn))

    def thread(seed: int) -> None:
        for _ in range(3):
            asyncio.run(work(seed))

    threads = [threading.Thread(target=thread, args=(seed,)) for seed in range(8)]
    for started in threads:
        started.start()
    for started in threads:
        started.join()
    assert not failures
    assert balanced()


class NoReaderLoop(asyncio.SelectorEventLoop):
    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


def without_add_reader() -> None:
    before = None
    for _ in range(2):
        loop = NoReaderLoop()

        async def main() -> None:
            assert await offloop.sha256(DATA) == DIGEST
            results = await asyncio.gather(*(offloop.sha256(DATA) for _ in range(500)))
            assert set(results) == {DIGEST}
            for _ in range(50):
                assert await offloop.sha256(DATA) == DIGEST
            await offloop.sha256_many([DATA] * 100)

        loop.run_until_complete(main())
        loop.close()
        del loop
        gc.collect()
        wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "offloop-watch"])
        if before is None:
            before = descriptors()
        wait_until(lambda expected=before: descriptors() <= expected)


class NestedLoop(asyncio.SelectorEventLoop):
    """Can be run inside one of its own callbacks, in the way that nest_asyncio makes loops re-entrant."""

    _nest_patched = True

    def _run_once(self):
        try:
            super()._run_once()
        except IndexError:
            pass  # an inner run has taken what was ready

    def run_inside(self, future):
        task = asyncio.current_task()
        if task is not None:
            asyncio.tasks._leave_task(self, task)
        try:
            while not future.done():
                self._run_once()
        finally:
            if task is not None:
                asyncio.tasks._enter_task(self, task)
        return future.result()


def nested() -> None:
    """Tasks that are woken together each run the loop again, for work that was ended before and for work that comes."""
    loop = NestedLoop()
    done = offloop.stats()["done"]
    ended = []

    async def work(operation, number: int) -> None:
        assert await operation == DIGEST
        inner = loop.create_task(use(number))
        assert loop.run_inside(inner) == number
        ended.append(number)

    async def use(number: int) -> int:
        assert await offloop.sha256(DATA) == DIGEST
        await asyncio.gather(*(offloop.sha256(DATA) for _ in range(10)))
        return number

    async def main() -> None:
        operations = [offloop.sha256(DATA) for _ in range(5)]
        tasks = [loop.create_task(work(operation, number)) for number, operation in enumerate(operations)]
        await asyncio.sleep(0)
        wait_until(lambda: offloop.stats()["done"] >= done + 5)
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())
    assert sorted(ended) == [0, 1, 2, 3, 4]
    loop.close()


def keyboard_interrupt_in_a_drain() -> None:
    """One of five tasks raises KeyboardInterrupt when it is woken; the other four are not lost."""
    loop = asyncio.new_event_loop()
    ended = []

    async def wait(operation, number: int) -> None:
        await operation
        if number == 0:
            raise KeyboardInterrupt
        ended.append(number)

    done = offloop.stats()["done"]

    tasks = []

    async def main() -> None:
        operations = [offloop.sha256(DATA) for _ in range(5)]
        tasks.extend(loop.create_task(wait(operation, number)) for number, operation in enumerate(operations))
        tasks.extend(loop.create_task(wait(operations[0], number)) for number in (5, 6))
        await asyncio.sleep(0)
        wait_until(lambda: offloop.stats()["done"] == done + 5)
        await asyncio.wait(tasks)

    first = loop.create_task(main())
    try:
        loop.run_until_complete(first)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("KeyboardInterrupt did not come through")
    loop.run_until_complete(first)
    assert sorted(ended) == [1, 2, 3, 4, 5, 6], ended
    assert isinstance(tasks[0].exception(), KeyboardInterrupt)
    loop.close()


def loop_identity() -> None:
    """A new loop may live where an old one did: its operations are not given to the old one's port."""
    for _ in range(50):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(offloop.sha256(DATA)) == DIGEST
        loop.close()
        del loop


def never_awaited() -> None:
    offloop.sha256(DATA)


globals()[sys.argv[1]]()
print("ok")
