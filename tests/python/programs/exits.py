"""Ends of the process while work is queued and running: each with code 0, soon, and without a word on stderr."""

import asyncio
import atexit
import mmap
import os
import sys
import threading
import time

import offloop
from offloop import hashing
from offloop.testing import spin

GIGABYTE = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def start_much() -> list[offloop.Operation[object]]:
    """Running on all workers, queued behind them, parked, in a batch, and waiting for a pipe."""
    reading, _ = os.pipe()
    operations: list[offloop.Operation[object]] = [hashing.file_digest(f"/dev/fd/{reading}")]
    operations += [offloop.sha256(GIGABYTE) for _ in range(100)]
    operations += [hashing.digest(GIGABYTE, "sha3_512") for _ in range(100)]
    operations += [offloop.sha256_many([GIGABYTE] * 50)]
    operations += [offloop.sha256(b"x" * 100_000) for _ in range(3000)]
    return operations


async def wait_until_running() -> None:
    while offloop.stats()["running"] == 0:
        await asyncio.sleep(0)


def after_run() -> None:
    """asyncio.run() ends while operations that nobody awaits go on."""
    kept = []

    async def main() -> None:
        kept.extend(start_much())
        await wait_until_running()

    asyncio.run(main())


def after_run_cancelled() -> None:
    """asyncio.run() cancels the tasks that await them."""

    async def main() -> None:
        for operation in start_much():
            operation.as_task()
        await wait_until_running()

    asyncio.run(main())


def loop_never_closed() -> None:
    loop = asyncio.new_event_loop()

    async def main() -> list[offloop.Operation[object]]:
        operations = start_much()
        await wait_until_running()
        return operations

    globals()["kept"] = loop.run_until_complete(main())
    globals()["loop"] = loop
    import warnings

    warnings.simplefilter("ignore", ResourceWarning)


def sys_exit_in_a_task() -> None:
    async def main() -> None:
        operations = start_much()
        await wait_until_running()
        say_ok()
        del operations
        sys.exit(0)

    asyncio.run(main())


def os_exit() -> None:
    async def main() -> None:
        operations = start_much()
        await wait_until_running()
        say_ok()
        assert operations
        os._exit(0)

    asyncio.run(main())


def sys_exit_in_a_thread() -> None:
    async def main() -> None:
        operations = start_much()
        await wait_until_running()
        assert operations
        sys.exit(0)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()


def daemon_thread_computes() -> None:
    """A daemon thread is inside compute_sha256, without the GIL, when the interpreter ends."""
    inside = threading.Event()

    def work() -> None:
        while True:
            inside.set()
            offloop.compute_sha256(GIGABYTE)

    threading.Thread(target=work, daemon=True).start()
    inside.wait()
    time.sleep(0.05)


def daemon_thread_batches() -> None:
    inside = threading.Event()

    def work() -> None:
        while True:
            inside.set()
            try:
                offloop.batch_hash([GIGABYTE] * 20, 2)
            except offloop.PoolClosedError:
                time.sleep(60)

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    inside.wait()
    time.sleep(0.05)


def daemon_thread_loop() -> None:
    """A whole event loop in a daemon thread, with work in flight."""
    inside = threading.Event()

    async def main() -> None:
        try:
            while True:
                operations = [offloop.sha256(b"x" * 50_000) for _ in range(100)]
                await asyncio.gather(*operations)
                inside.set()
        except (offloop.PoolClosedError, asyncio.CancelledError):
            time.sleep(60)  # what the pool's end looks like from here

    threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
    inside.wait()


def exception_in_atexit_is_not_ours() -> None:
    """A handler that was registered later runs earlier: the pool still works in it."""

    def handler() -> None:
        assert len(asyncio.run(offloop.sha256(b"x" * 100_000))) == 64

    atexit.register(handler)


def unawaited_error_at_exit() -> None:
    """An operation that has failed and that nobody asked dies with the interpreter: shown before, or not at all."""

    async def main() -> None:
        operation = hashing.file_digest("/nowhere/at/all")
        while not operation.done():
            await asyncio.sleep(0)
        assert isinstance(operation.exception(), FileNotFoundError)
        globals()["kept"] = operation

    asyncio.run(main())


def threads_that_outlive_main() -> None:
    """The main thread ends first; loops in other threads go on, and the interpreter waits for them as for any."""

    async def work() -> None:
        for _ in range(20):
            assert len(await offloop.sha256(b"x" * 100_000)) == 64
        await offloop.sha256_many([b"x" * 1000] * 100)

    for _ in range(3):
        threading.Thread(target=asyncio.run, args=(work(),)).start()


def queued_files() -> None:
    async def main() -> None:
        operations = [hashing.file_digest(sys.executable) for _ in range(2000)]
        await asyncio.sleep(0)
        globals()["kept"] = operations

    asyncio.run(main())


def in_a_finalizer() -> None:
    """An object that lives in a module is finalised after the pool has ended: an error, no crash."""

    class Late:
        def __del__(self) -> None:
            try:
                offloop.compute_sha256(b"x" * 100_000)
                offloop.batch_hash([b"x" * 100_000] * 3, 2)
            except offloop.PoolClosedError:
                pass

    globals()["late"] = Late()
    asyncio.run(offloop.sha256(b"x" * 100_000))


def start_spins(cooperative: bool) -> None:
    """Eight operations of ten seconds, each on a worker of its own; some are awaited, some are only kept."""
    offloop.configure(threads=8)
    kept = [spin(10, cooperative=cooperative) for _ in range(8)]
    globals()["kept"] = kept
    for operation in kept[:4]:
        operation.as_task()


async def eight_running() -> None:
    while offloop.stats()["running"] < 8:
        await asyncio.sleep(0)


def eight_spins() -> None:
    async def main() -> None:
        start_spins(True)
        await eight_running()

    asyncio.run(main())


def eight_uncooperative_spins() -> None:
    async def main() -> None:
        start_spins(False)
        await eight_running()

    asyncio.run(main())


def eight_uncooperative_spins_of_a_daemon_thread() -> None:
    inside = threading.Event()

    async def main() -> None:
        start_spins(False)
        await eight_running()
        inside.set()
        await asyncio.sleep(3600)

    threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
    inside.wait()


def eight_uncooperative_spins_and_sys_exit_in_a_task() -> None:
    async def main() -> None:
        start_spins(False)
        await eight_running()
        say_ok()
        sys.exit(0)

    asyncio.run(main())


def eight_uncooperative_spins_and_os_exit() -> None:
    async def main() -> None:
        start_spins(False)
        await eight_running()
        say_ok()
        os._exit(0)

    asyncio.run(main())


def uncooperative_spins_in_every_phase() -> None:
    """Unbound, parked, queued, running, cancelled while running, ended but not delivered, delivered."""

    async def main() -> None:
        offloop.configure(threads=1, max_pending=4)
        delivered = [spin(0), offloop.sha256(b"x" * 100_000)]
        await asyncio.gather(*delivered)
        running = [spin(10, cooperative=False)]
        while offloop.stats()["running"] == 0:
            await asyncio.sleep(0)
        offloop.configure(threads=2)
        undelivered = [spin(0)]
        done = offloop.stats()["done"]
        while offloop.stats()["done"] == done:
            time.sleep(0.001)
        cancelled = [spin(10, cooperative=False)]
        while offloop.stats()["running"] < 2:
            time.sleep(0.001)
        cancelled[0].cancel()
        queued = [spin(10)]
        parked = [spin(10) for _ in range(3)]
        globals()["kept"] = delivered + running + undelivered + cancelled + queued + parked
        thread = threading.Thread(target=lambda: globals().update(unbound=spin(10)))
        thread.start()
        thread.join()

    asyncio.run(main())
    import warnings

    warnings.simplefilter("ignore", RuntimeWarning)  # the unbound one is never awaited


def say_ok() -> None:
    """The last words, and when they were said."""
    print("ok", flush=True)
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w") as file:
            file.write(str(time.monotonic()))


globals()[sys.argv[1]]()
if not sys.argv[1].endswith(("sys_exit_in_a_task", "os_exit")):
    say_ok()
