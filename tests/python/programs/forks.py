"""Processes that fork while offloop works."""

import asyncio
import mmap
import multiprocessing
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import offloop
from offloop import hashing
from offloop.testing import spin

GIGABYTE = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
DATA = bytes(range(256)) * 400
DIGEST = offloop.compute_sha256(DATA)


exits_at_once = False


async def use_everything() -> None:
    assert await offloop.sha256(DATA) == DIGEST
    assert set(await asyncio.gather(*(offloop.sha256(DATA) for _ in range(200)))) == {DIGEST}
    assert await offloop.sha256_many([DATA] * 100) == [DIGEST] * 100
    assert len(await hashing.file_digest(sys.executable)) == 32
    assert len(await hashing.digest(DATA, "sha512")) == 64
    assert offloop.batch_hash([DATA] * 20, 2) == [DIGEST] * 20


def child(work) -> None:
    """Runs work() in a forked child, which exits as a program does (only a main thread can), and waits for it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except SystemExit:
            raise  # of a grandchild
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(3)
        if threading.current_thread() is threading.main_thread() and not exits_at_once:
            sys.exit(0)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status


def new_pool_in_the_child() -> None:
    asyncio.run(use_everything())
    child(lambda: asyncio.run(use_everything()))
    asyncio.run(use_everything())


def unused_in_the_child() -> None:
    asyncio.run(use_everything())
    child(lambda: None)
    asyncio.run(use_everything())


def with_work_running() -> None:
    async def main() -> None:
        running = [offloop.sha256(GIGABYTE) for _ in range(20)]
        running += [hashing.digest(GIGABYTE, "sha3_512") for _ in range(3)]
        running += [hashing.file_digest(sys.executable) for _ in range(20)]
        mine = [offloop.sha256(DATA) for _ in range(200)]
        while offloop.stats()["running"] == 0:
            await asyncio.sleep(0)
        pid = os.fork()
        if pid == 0:
            # The parent's loop is running here, too, as asyncio sees it: the child leaves it behind.
            asyncio._set_running_loop(None)
            try:
                asyncio.run(use_everything())
                del running
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(3)
        assert set(await asyncio.gather(*mine)) == {DIGEST}
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        for operation in running:
            operation.cancel()
        await use_everything()

    asyncio.run(main())


def operations_of_the_parent_in_the_child() -> None:
    """What the child inherits is dead: it can be dropped, cancelled and looked at, without harm to the parent."""

    async def main() -> None:
        inherited = [offloop.sha256(GIGABYTE) for _ in range(5)]
        parents = [offloop.sha256(DATA) for _ in range(50)]
        pid = os.fork()
        if pid == 0:
            try:
                asyncio._set_running_loop(None)
                repr(inherited)
                inherited[0].cancel()
                del inherited[1]
                parents.clear()
                asyncio.run(use_everything())
                inherited.clear()
                asyncio.run(use_everything())
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(3)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert set(await asyncio.gather(*parents)) == {DIGEST}
        for operation in inherited:
            operation.cancel()

    asyncio.run(main())


def operations_in_each_phase() -> None:
    """Unbound, parked, queued, running, cancelled while running, ended but not delivered, delivered, failed."""

    async def main() -> None:
        offloop.configure(threads=2, max_pending=6)
        value = offloop.sha256(DATA)
        error = hashing.file_digest("/nowhere/at/all")
        await asyncio.gather(value, error, return_exceptions=True)
        unbound = await asyncio.to_thread(offloop.sha256, DATA)
        done = offloop.stats()["done"]
        undelivered = offloop.sha256(DATA)
        while offloop.stats()["done"] == done:
            time.sleep(0.001)
        stubborn = spin(1, cooperative=False)
        running = spin(3600)
        while offloop.stats()["running"] < 2:
            time.sleep(0.001)
        stubborn.cancel()
        queued = [spin(0), offloop.sha256(DATA)]
        many = offloop.sha256_many([DATA] * 10)
        parked = [offloop.sha256(DATA) for _ in range(4)]
        assert offloop.stats()["parked"] >= 3, offloop.stats()
        everything = [value, error, undelivered, stubborn, running, *queued, many, *parked, unbound]
        pid = os.fork()
        if pid == 0:
            try:
                asyncio._set_running_loop(None)
                assert value.result() == DIGEST
                assert isinstance(error.exception(), FileNotFoundError)
                assert repr(everything)
                assert offloop.stats()["running"] == offloop.stats()["in_flight"] == 0, offloop.stats()
                asyncio.run(use_everything())
                for operation in everything[2:]:
                    operation.cancel()
                # It belongs to nobody yet, so it may be the child's.
                assert unbound.cancelled()
                everything.clear()
                asyncio.run(use_everything())
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(3)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert await undelivered == DIGEST
        running.cancel()
        assert await asyncio.gather(*queued, many, *parked, unbound) == [None, DIGEST, [DIGEST] * 10] + [DIGEST] * 5
        await use_everything()

    asyncio.run(main())


def an_unbound_operation_may_be_the_childs() -> None:
    asyncio.run(use_everything())
    unbound = offloop.sha256(DATA)

    def work() -> None:
        async def main() -> None:
            assert await unbound == DIGEST

        asyncio.run(main())

    child(work)
    unbound.cancel()


def hooks_of_the_program() -> None:
    """Functions that the program registered to run around a fork may use offloop, in the parent and in the child."""
    ran = []

    def use() -> None:
        ran.append(offloop.batch_hash([DATA] * 5, 2) == [DIGEST] * 5)

    os.register_at_fork(before=use, after_in_parent=use, after_in_child=use)
    asyncio.run(use_everything())
    child(lambda: asyncio.run(use_everything()))
    assert ran == [True, True], ran


def grandchild() -> None:
    asyncio.run(use_everything())

    def work() -> None:
        asyncio.run(use_everything())
        child(lambda: asyncio.run(use_everything()))
        asyncio.run(use_everything())

    child(work)


def before_first_use() -> None:
    child(lambda: asyncio.run(use_everything()))
    asyncio.run(use_everything())


def from_a_thread() -> None:
    global exits_at_once
    exits_at_once = True  # the thread is the child's main thread, but sys.exit() would end no more than its function
    asyncio.run(use_everything())
    thread = threading.Thread(target=child, args=(lambda: asyncio.run(use_everything()),))
    thread.start()
    asyncio.run(use_everything())
    thread.join()


def in_a_loop() -> None:
    async def main() -> None:
        for _ in range(20):
            operations = [offloop.sha256(DATA) for _ in range(20)]
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            assert set(await asyncio.gather(*operations)) == {DIGEST}
            os.waitpid(pid, 0)

    asyncio.run(main())


def eventfds() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if "eventfd" in os.readlink(f"/proc/self/fd/{name}"):
                found.add(int(name))
        except OSError:
            pass
    return found


async def waits_for_data(pipe: int) -> offloop.Operation[str]:
    """An operation that waits for an empty pipe, once the thread is there that does it."""
    operation = hashing.file_hexdigest(f"/dev/fd/{pipe}")
    while True:
        if any(name.read_text() == "offloop-poll\n" for name in Path("/proc/self/task").glob("*/comm")):
            return operation
        await asyncio.sleep(0)


def descriptors_in_the_child() -> None:
    """The child's first use closes the inherited eventfds."""
    asyncio.run(use_everything())
    kept = [asyncio.new_event_loop() for _ in range(5)]
    for loop in kept:
        loop.run_until_complete(use_everything())
    reading, writing = os.pipe()
    waiting = kept[0].run_until_complete(waits_for_data(reading))

    inherited = eventfds()
    assert len(inherited) >= 6

    def work() -> None:
        asyncio.run(use_everything())
        assert len(eventfds()) <= 1, (inherited, eventfds())

    child(work)
    os.close(writing)
    assert kept[0].run_until_complete(waiting) == offloop.compute_sha256(b"")
    for loop in kept:
        loop.run_until_complete(use_everything())
        loop.close()


def files_that_wait_for_data() -> None:
    """The child leaves its parent's alone and has a thread of its own for them; the parent's get their data."""
    reading, writing = os.pipe()

    async def main() -> None:
        waiting = [await waits_for_data(reading) for _ in range(3)]

        def work() -> None:
            asyncio._set_running_loop(None)
            assert all(operation.cancel() for operation in waiting[:2])
            asyncio.run(use_everything())
            waiting[0].cancel()

            async def own() -> None:
                assert (await waits_for_data(reading)).cancel()
                while offloop.stats()["in_flight"]:
                    await asyncio.sleep(0)

            asyncio.run(own())
            os._exit(0)

        child(work)
        os.close(writing)
        empty = offloop.compute_sha256(b"")
        assert await asyncio.gather(*waiting) == [empty] * 3

    asyncio.run(main())


def hash_in_process(data: bytes) -> str:
    return asyncio.run(offloop.sha256(data))


def start_method() -> None:
    asyncio.run(use_everything())
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(2) as pool:
        assert pool.map(hash_in_process, [DATA] * 20) == [DIGEST] * 20
        pool.close()
        pool.join()
    process = context.Process(target=hash_in_process, args=(DATA,))
    process.start()
    process.join()
    assert process.exitcode == 0
    asyncio.run(use_everything())


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("ok")
