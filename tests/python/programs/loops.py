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
from offloop.testing import spin

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
    asyncio.new_event_loop().close()
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


def cancelled_after_its_loop_was_closed() -> None:
    """Nobody is left who could be woken: one waiter or several, it is cancelled and says nothing of the loop."""
    for waiters in (1, 3):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
        kept = []

        async def wait(kept: list = kept) -> None:
            await kept[0]

        async def start(kept: list = kept, waiters: int = waiters) -> list:
            kept.append(spin(60, cooperative=True))
            return [asyncio.ensure_future(wait()) for _ in range(waiters)]

        tasks = loop.run_until_complete(start())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert kept[0].cancel() is True
        assert kept[0].cancelled()
        assert not any(task.done() for task in tasks)
        assert asyncio.run(offloop.sha256(DATA)) == DIGEST
        del loop, tasks
        kept.clear()
        wait_until(balanced)


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
    for n in range(1000):
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


def a_reused_descriptor_is_left_alone() -> None:
    """A closed loop that is still referenced keeps its reader; the eventfd's number may be somebody else's by then."""
    kept = []
    for _ in range(20):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(offloop.sha256(DATA)) == DIGEST
        loop.close()
        kept.append(loop)
        # The next loop's first operation closes the eventfd; its number goes to a pipe, whose bytes must stay in it.
        other = asyncio.new_event_loop()
        assert other.run_until_complete(offloop.sha256(DATA)) == DIGEST
        reading, writing = os.pipe()
        os.write(writing, b"12345678")
        assert asyncio.run(offloop.sha256(DATA)) == DIGEST
        assert other.run_until_complete(offloop.sha256(DATA)) == DIGEST
        assert os.read(reading, 100) == b"12345678"
        os.close(reading)
        os.close(writing)
        other.close()


def a_stale_reader_does_nothing() -> None:
    """Whoever kept the reader's callback may call it at any time: after the loop's end it does nothing."""
    from offloop import _loop

    drains = []
    attach = _loop.attach

    def attach_and_remember(loop, fd, drain, loop_is_gone):
        drains.append((fd, drain, loop_is_gone))
        attach(loop, fd, drain, loop_is_gone)

    _loop.attach = attach_and_remember
    for _ in range(5):
        assert asyncio.run(offloop.sha256(DATA)) == DIGEST
    assert len(drains) == 5
    gc.collect()
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(offloop.sha256(DATA)) == DIGEST
    for _, drain, loop_is_gone in drains[:5]:
        loop_is_gone(None)
        assert drain() is None
        loop_is_gone(None)
    assert loop.run_until_complete(offloop.sha256(DATA)) == DIGEST
    drains[5][1]()  # the live one may be called at any time, too
    assert loop.run_until_complete(offloop.sha256(DATA)) == DIGEST
    loop.close()
    wait_until(balanced)


def inputs_are_released_on_the_loops_thread() -> None:
    """Whether an operation ends, fails to start, is cancelled or dropped: no worker ever lets go of a Python object."""
    releases: list[int] = []

    class Payload(bytearray):
        def __del__(self) -> None:
            releases.append(threading.get_ident())

    async def main() -> None:
        await asyncio.gather(*(offloop.sha256(Payload(DATA)) for _ in range(20)))
        await asyncio.gather(*(hashing.digest(Payload(DATA), "md5") for _ in range(20)))
        await offloop.sha256_many([Payload(DATA) for _ in range(20)])
        for operation in [hashing.digest(Payload(DATA * 40), "sha3_512") for _ in range(20)]:
            operation.cancel()
        for _ in range(20):
            offloop.sha256(Payload(DATA))  # dropped at once
        offloop.sha256_many([Payload(DATA) for _ in range(20)]).cancel()
        while len(releases) < 120:
            await asyncio.sleep(0)
        # Running when the loop ends: asyncio.run() below closes it.
        globals()["kept"] = [hashing.digest(Payload(DATA * 40), "sha3_512") for _ in range(4)]
        while offloop.stats()["running"] == 0:
            await asyncio.sleep(0)

    def thread() -> None:
        asyncio.run(main())
        idents.append(threading.get_ident())

    idents: list[int] = []
    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    # The loop is gone: what was in flight is let go of by a thread of Python's, here the main one.
    globals()["kept"].clear()
    wait_until(lambda: len(releases) == 124)
    assert set(releases[:120]) == set(idents)
    assert set(releases[120:]) <= {*idents, threading.get_ident()}
    wait_until(balanced)


def a_finalizer_may_run_anything_while_a_closed_loop_is_emptied() -> None:
    """While what the loop left is let go of, the finalizer of an input lets the rest come back, and that be emptied."""

    class Nosy(bytearray):
        def __del__(self) -> None:
            # All the rest comes back now, and asks the main thread to take it.
            wait_until(lambda: ended() >= self.until)
            for _ in range(1000):
                sum(range(100))
            if asyncio._get_running_loop() is None:
                assert asyncio.run(offloop.sha256(DATA)) == DIGEST
            finalized.append(1)

    def ended() -> int:
        stats = offloop.stats()
        return int(stats["done"] + stats["stopped"])

    finalized: list[int] = []
    offloop.configure(threads=2)
    for _ in range(5):
        loop = asyncio.new_event_loop()

        before = ended()

        async def main(before: int = before) -> None:
            nosy = Nosy(DATA)
            nosy.until = before + 7
            operations = [spin(0.05, cooperative=False) for _ in range(2)]  # the loop has ended before they have
            operations.append(offloop.sha256(nosy))
            operations += [spin(0.2, cooperative=False) for _ in range(4)]
            globals()["kept"] = operations

        loop.run_until_complete(main())
        wait_until(lambda before=before: ended() >= before + 3)
        loop.close()
        del loop
        globals()["kept"].clear()
        gc.collect()
        assert asyncio.run(offloop.sha256(DATA)) == DIGEST
    wait_until(lambda: len(finalized) == 5)
    wait_until(balanced)


def loops_end_in_many_threads_at_once() -> None:
    """Closed loops are looked for while other threads let theirs go."""

    class SlowToAnswer(asyncio.SelectorEventLoop):
        def is_closed(self) -> bool:
            time.sleep(0)  # lets another thread run
            return super().is_closed()

    failures = []

    def thread() -> None:
        for _ in range(100):
            loop = SlowToAnswer()
            try:
                if loop.run_until_complete(offloop.sha256(DATA[:20_000])) != offloop.compute_sha256(DATA[:20_000]):
                    failures.append("wrong")
            except BaseException as error:
                failures.append(repr(error))
            loop.close()

    threads = [threading.Thread(target=thread) for _ in range(8)]
    for started in threads:
        started.start()
    for started in threads:
        started.join()
    assert not failures, failures
    gc.collect()
    wait_until(balanced)


def nest_asyncio_itself() -> None:
    """The real nest_asyncio, where there is one for this interpreter."""
    try:
        import nest_asyncio
    except ImportError:
        print("skipped: nest_asyncio is not installed")
        raise SystemExit from None
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    nest_asyncio.apply(loop)

    def inside(number: int) -> str:
        async def work() -> str:
            await asyncio.gather(*(offloop.sha256(DATA) for _ in range(10)))
            return await offloop.sha256(b"%d" % number * 50_000)

        return loop.run_until_complete(work())

    async def wait(number: int) -> None:
        assert await offloop.sha256(DATA) == DIGEST
        assert inside(number) == offloop.compute_sha256(b"%d" % number * 50_000)

    async def main() -> None:
        await asyncio.gather(*(wait(number) for number in range(5)))

    loop.run_until_complete(main())
    loop.close()


def never_awaited() -> None:
    offloop.sha256(DATA)


globals()[sys.argv[1]]()
print("ok")
