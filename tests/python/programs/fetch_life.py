"""Processes that end, fork, close their loop or are interrupted while transfers run.

Arguments: the scenario, the origin's URL.
"""

import asyncio
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import offloop
from offloop.fetch import Fetcher

ORIGIN = sys.argv[2]
SMALL = {f"{ORIGIN}/bytes/{size}?seed=life": size for size in (0, 1000, 300_000)}
LARGE = f"{ORIGIN}/bytes/50000000?seed=life"

kept: list[Any] = []


def start_much(fetcher: Fetcher, folder: str) -> None:
    """Of every kind: sending nothing, sending without end, queued."""
    for path in ("/hang", "/endless", "/drip?bytes=100&seconds=600") * 3:
        url = ORIGIN + path
        kept.append(fetcher.get(url))
        kept.append(fetcher.hash(url, max_body=1 << 60))
        kept.append(fetcher.stream(url, os.path.join(folder, f"file{len(kept)}")))
        kept.append(fetcher.stream(url, lambda chunk: None, max_body=1 << 60))
    kept.append(offloop.fetch_url(ORIGIN + "/hang", timeout=600))


async def until_running(fetcher: Fetcher) -> None:
    while fetcher.stats()["running"] < 10 or fetcher.stats()["connections_opened"] < 5:
        await asyncio.sleep(0.001)


async def check_fetching() -> None:
    found = await offloop.fetch_and_hash_urls(SMALL)
    assert list(found) == list(SMALL)
    assert [len(await offloop.fetch_url(url)) for url in SMALL] == list(SMALL.values())
    async with Fetcher() as fetcher:
        assert (await fetcher.hash(LARGE)).size == 50_000_000
        with tempfile.TemporaryDirectory() as folder:
            await fetcher.stream(LARGE, os.path.join(folder, "file"))
            assert os.path.getsize(os.path.join(folder, "file")) == 50_000_000


async def leave_much_running(folder: str) -> None:
    fetcher = Fetcher(max_concurrent=20, timeout=600)
    kept.append(fetcher)
    start_much(fetcher, folder)
    task = asyncio.ensure_future(
        offloop.fetch_and_hash_urls([f"{ORIGIN}/endless?n={n}" for n in range(5)], timeout=600)
    )
    kept.append(task)
    await until_running(fetcher)


# ---- exit ------------------------------------------------------------------------------------------------------------


def exit_after_run(folder: str) -> None:
    asyncio.run(leave_much_running(folder))


def exit_with_the_loop_open(folder: str) -> None:
    loop = asyncio.new_event_loop()
    kept.append(loop)
    loop.run_until_complete(leave_much_running(folder))
    kept.pop(-2)  # the task: asyncio itself would say that it was destroyed while pending
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def exit_from_a_coroutine(folder: str) -> None:
    async def main() -> None:
        await leave_much_running(folder)
        sys.exit(0)

    print("ok", flush=True)
    asyncio.run(main())


def exit_with_a_daemon_thread_fetching(folder: str) -> None:
    running = threading.Event()

    async def main() -> None:
        await leave_much_running(folder)
        running.set()
        while True:
            await offloop.fetch_and_hash_urls(SMALL)

    def fetch_for_ever() -> None:
        try:
            asyncio.run(main())
        except* offloop.PoolClosedError:
            pass  # without a GIL it still runs when the pool is shut down

    threading.Thread(target=fetch_for_ever, daemon=True).start()
    assert running.wait(20)


def exit_after_fetching(folder: str) -> None:
    asyncio.run(check_fetching())


# ---- loops -----------------------------------------------------------------------------------------------------------


def the_loop_closes(folder: str) -> None:
    for _ in range(3):
        asyncio.run(leave_much_running(folder))
        asyncio.run(check_fetching())
        kept.clear()
    asyncio.run(check_fetching())


# ---- fork ------------------------------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], None], leave: Callable[[int], Any]) -> int:
    pid = os.fork()
    if pid == 0:
        # The parent's loop is running here, too, as asyncio sees it: the child leaves it behind.
        asyncio._set_running_loop(None)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(3)
        leave(0)
    return pid


def ended_well(pid: int) -> bool:
    """False while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) == 0 if ended else True, status
    return ended != 0


async def parent(work: Callable[[], None], leave: Callable[[int], Any]) -> None:
    async with Fetcher(timeout=60) as fetcher:
        slow = [fetcher.hash(f"{ORIGIN}/drip?bytes=1000&seconds=1&n={n}") for n in range(5)]
        large = [fetcher.hash(LARGE) for _ in range(3)]
        mine = asyncio.ensure_future(
            offloop.fetch_and_hash_urls([f"{ORIGIN}/slow?seconds=0.5&n={n}" for n in range(5)])
        )
        while fetcher.stats()["running"] < 8:
            await asyncio.sleep(0.001)
        pid = in_a_child(work, leave)
        while not ended_well(pid):
            await asyncio.sleep(0.005)
        assert {response.hexdigest for response in await asyncio.gather(*large)} == {
            (await fetcher.hash(LARGE)).hexdigest
        }
        assert len({response.hexdigest for response in await asyncio.gather(*slow)}) == 1
        assert len(await mine) == 5


def fork_and_fetch_in_the_child(folder: str) -> None:
    asyncio.run(parent(lambda: asyncio.run(check_fetching()), os._exit))


def fork_and_do_nothing_in_the_child(folder: str) -> None:
    asyncio.run(parent(lambda: None, os._exit))


def fork_and_exit_as_a_program_does(folder: str) -> None:
    # After the parent's loop, so that the child's unwinding does not run through it.
    async def warm() -> None:
        await leave_much_running(folder)

    asyncio.run(warm())
    pid = in_a_child(lambda: asyncio.run(check_fetching()), sys.exit)
    while not ended_well(pid):
        time.sleep(0.005)
    asyncio.run(check_fetching())


def fork_leaves_the_fetcher_to_the_parent(folder: str) -> None:
    fetcher = Fetcher()

    async def ends(*coroutines: Coroutine[Any, Any, int]) -> list[int | BaseException]:
        return await asyncio.gather(*coroutines, return_exceptions=True)

    async def fetch() -> int:
        return int((await fetcher.get(f"{ORIGIN}/bytes/10")).size)

    def child() -> None:
        (error,) = asyncio.run(ends(fetch()))
        assert isinstance(error, offloop.PoolClosedError)
        assert str(error) == "the fetcher belongs to the parent process: make a new one after fork()"
        fetcher.close()

    assert asyncio.run(fetch()) == 10
    pid = in_a_child(child, sys.exit)
    while not ended_well(pid):
        time.sleep(0.005)
    assert asyncio.run(fetch()) == 10
    fetcher.close()


# ---- signals ---------------------------------------------------------------------------------------------------------


async def interrupted() -> None:
    urls = [f"{ORIGIN}/hang?n={n}" for n in range(5)]
    print("running", flush=True)
    await offloop.fetch_and_hash_urls(urls, timeout=600)


def ctrl_c(folder: str) -> None:
    asyncio.run(interrupted())


def ctrl_c_caught(folder: str) -> None:
    try:
        asyncio.run(interrupted())
    except KeyboardInterrupt:
        asyncio.run(check_fetching())
    else:
        sys.exit("no KeyboardInterrupt")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:  # transfers may still write there
        globals()[sys.argv[1]](temporary)
    if sys.argv[1] != "exit_from_a_coroutine":
        print("ok", flush=True)
