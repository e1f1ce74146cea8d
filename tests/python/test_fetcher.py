"""A Fetcher's life, its limits, and the addresses and proxies that it may use."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import until
from fetch_helpers import abandoned, in_progress, quiet, sees

import offloop
from offloop.fetch import Fetcher
from offloop.testing import Origin, body_sha256


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


# ---- life ------------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_closes_the_fetcher_and_its_connections() -> None:
    with Origin() as origin:  # of its own: the process's fetcher keeps connections to the other one
        async with Fetcher() as fetcher:
            await fetcher.get(origin.url("/"))
            assert not fetcher.closed
            assert "'done': 1" in repr(fetcher)
            assert (await asyncio.to_thread(origin.stats)).open_connections >= 1
        assert fetcher.closed
        assert repr(fetcher) == "<offloop.fetch.Fetcher closed>"
        fetcher.close()
        await sees(origin, lambda stats: stats.open_connections == 0)


async def test_a_closed_fetcher_takes_nothing_more(origin: Origin) -> None:
    fetcher = Fetcher()
    fetcher.close()
    for use in (fetcher.get, fetcher.hash, lambda url: fetcher.stream(url, print)):
        with pytest.raises(offloop.PoolClosedError, match="the fetcher is closed"):
            use(origin.url("/"))
    with pytest.raises(offloop.PoolClosedError):
        fetcher.stats()


async def test_closing_cancels_what_is_pending(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher(max_concurrent=3) as fetcher:
        url = origin.url("/hang")
        pending: list[offloop.Operation[Any]] = [
            fetcher.get(url),
            fetcher.hash(url),
            fetcher.stream(url, tmp_path / "file"),
            fetcher.stream(url, print),  # queued behind the others
        ]
        tasks = [operation.as_task() for operation in pending]
        await in_progress(origin, 3)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 4
    assert all(operation.cancelled() for operation in pending)
    assert (await abandoned(origin, 3)).requests == 3


async def test_an_exception_in_the_block_closes_the_fetcher(origin: Origin) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Fetcher() as fetcher:
            operation = fetcher.get(origin.url("/hang"))
            await in_progress(origin, 1)
            raise ZeroDivisionError
    await abandoned(origin, 1)
    with pytest.raises(asyncio.CancelledError):
        await operation


async def test_a_cancelled_transfer_closes_its_connection_at_once(origin: Origin) -> None:
    async with Fetcher(timeout=600) as fetcher:
        for path in ("/hang", "/endless", "/drip?bytes=100&seconds=600"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await fetcher.hash(origin.url(path))
        await abandoned(origin, 3)
        await until(lambda: fetcher.stats()["stopped"] == 3)
        assert fetcher.stats()["running"] == 0


async def test_dropping_the_last_reference_cancels_the_transfer(origin: Origin) -> None:
    async with Fetcher(timeout=600) as fetcher:
        operation = fetcher.get(origin.url("/hang"))
        await in_progress(origin, 1)
        del operation
        await abandoned(origin, 1)


async def test_a_transfer_that_is_cancelled_in_the_queue_is_never_sent(origin: Origin) -> None:
    async with Fetcher(max_concurrent=1) as fetcher:
        first = fetcher.get(origin.url("/hang"))
        await in_progress(origin, 1)
        second, third = fetcher.get(origin.url("/bytes/2")), fetcher.get(origin.url("/bytes/3"))
        assert second.cancel()
        first.cancel()
        assert (await third).size == 3
        for operation in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await operation
    assert set((await asyncio.to_thread(origin.stats)).targets) == {"/hang", "/bytes/3"}


async def test_a_failing_operation_in_a_task_group_cancels_its_pending_fetches(origin: Origin) -> None:
    async with Fetcher(timeout=600) as fetcher:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(fetcher.get(origin.url("/hang")))
                group.create_task(fetcher.hash(origin.url("/endless"), max_body=1 << 60))
                await in_progress(origin, 4)
                group.create_task(fetcher.get(origin.url("/status/404")))
        assert [type(error) for error in caught.value.exceptions] == [offloop.HTTPStatusError]
        await abandoned(origin, 4)
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5


async def test_operations_of_a_fetcher_go_wherever_asyncio_takes_one(origin: Origin) -> None:
    async with Fetcher() as fetcher:
        url = origin.url("/bytes/100")
        sizes = [response.size for response in await asyncio.gather(*(fetcher.get(url) for _ in range(20)))]
        assert sizes == [100] * 20
        done, _ = await asyncio.wait([fetcher.get(url).as_task() for _ in range(3)])
        assert [task.result().size for task in done] == [100] * 3
        assert {(await op).size for op in asyncio.as_completed([fetcher.get(url), fetcher.get(url)])} == {100}
        assert (await asyncio.wait_for(fetcher.get(url), 10)).size == 100
        assert (await asyncio.shield(fetcher.get(url))).size == 100


def test_several_loops_in_threads_share_a_fetcher(origin: Origin) -> None:
    found: dict[int, list[str]] = {}

    async def main(number: int) -> list[str]:
        urls = [origin.url(f"/bytes/{10_000 * n}?seed={number}") for n in range(20)]
        return [response.hexdigest for response in await asyncio.gather(*map(fetcher.hash, urls))]

    def run(number: int) -> None:
        found[number] = asyncio.run(main(number))

    fetcher = Fetcher(max_concurrent=8)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [body_sha256(10_000 * n, str(number)) for n in range(20)] for number in range(4)}
    assert fetcher.stats()["done"] == 80
    fetcher.close()
    assert origin.stats().max_concurrent <= 8


def test_a_fetcher_outlives_the_loop_in_which_it_was_made(origin: Origin) -> None:
    fetcher = Fetcher()
    for _ in range(3):
        assert asyncio.run(_size(fetcher, origin.url("/bytes/100"))) == 100
    fetcher.close()


async def _size(fetcher: Fetcher, url: str) -> int:
    return (await fetcher.get(url)).size


# ---- limits ----------------------------------------------------------------------------------------------------------


async def test_max_concurrent_holds(origin: Origin) -> None:
    async with Fetcher(max_concurrent=3) as fetcher:
        hanging = [fetcher.get(origin.url("/hang")) for _ in range(8)]
        await in_progress(origin, 3)
        assert (fetcher.stats()["running"], fetcher.stats()["queued"]) == (3, 5)
        del hanging
        await abandoned(origin, 3)
        await asyncio.gather(*(fetcher.get(origin.url("/slow?seconds=0.01")) for _ in range(20)))
    stats = await asyncio.to_thread(origin.stats)
    assert (stats.max_concurrent, stats.paths["/hang"], stats.paths["/slow"]) == (3, 3, 20)


async def test_per_host_holds_for_each_host(origin: Origin) -> None:
    names = ["one.test", "two.test"]
    async with Fetcher(per_host=2, resolve=[f"{name}:127.0.0.1" for name in names]) as fetcher:
        urls = [f"http://{name}:{origin.port}/hang" for name in names for _ in range(5)]
        hanging = [fetcher.get(url) for url in urls]
        await in_progress(origin, 4)
        assert (fetcher.stats()["running"], fetcher.stats()["queued"]) == (4, 6)
        # A host that has room is not kept waiting by those that have not.
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
        del hanging
        await abandoned(origin, 4)
    assert (await asyncio.to_thread(origin.stats)).requests == 5


async def test_max_body_is_the_largest_body_that_passes(origin: Origin, tmp_path: Path) -> None:
    for route in ("bytes", "chunked", "gzip"):
        url = origin.url(f"/{route}/5000")
        async with Fetcher(max_body=5000) as fetcher:
            assert (await fetcher.get(url)).size == 5000
            with pytest.raises(offloop.BodyTooLargeError, match="larger than max_body, 4999 bytes"):
                await fetcher.get(url, max_body=4999)
            with pytest.raises(offloop.BodyTooLargeError):
                await fetcher.hash(url, max_body=4999)
            with pytest.raises(offloop.BodyTooLargeError):
                await fetcher.stream(url, tmp_path / "file", max_body=4999)
            assert (await fetcher.hash(url, max_body=10_000)).size == 5000
        assert os.listdir(tmp_path) == []


async def test_fail_on_status_false_gives_the_answer_itself(origin: Origin) -> None:
    async with Fetcher(fail_on_status=False) as fetcher:
        response = await fetcher.get(origin.url("/status/404"))
        assert (response.status, response.text()) == (404, "status 404\n")
        assert (await fetcher.hash(origin.url("/status/500"))).hexdigest == hashlib.sha256(b"status 500\n").hexdigest()


@pytest.mark.loops("asyncio")
async def test_low_speed_is_a_timeout(origin: Origin) -> None:
    async with Fetcher(low_speed_bytes=1000, low_speed_time=1, timeout=60) as fetcher:
        url = origin.url("/drip?bytes=100&seconds=50")
        with pytest.raises(offloop.FetchTimeoutError) as caught:
            await fetcher.get(url)
    assert str(caught.value) == f"Fetch timed out for {url} after 1s below 1000 bytes per second"


# ---- addresses and proxies -------------------------------------------------------------------------------------------


async def test_public_only_refuses_this_machine_on_every_hop(origin: Origin) -> None:
    cases = [origin.url("/"), f"http://localhost:{origin.port}/", f"http://[::1]:{origin.port}/", "http://10.0.0.1/"]
    async with Fetcher(addresses="public_only") as fetcher:
        for url in cases:
            with pytest.raises(offloop.BlockedAddressError) as caught:
                await fetcher.get(url)
            assert (caught.value.url, caught.value.retryable) == (url, False)
    assert (await asyncio.to_thread(origin.stats)).connections == 0
    async with Fetcher(addresses="public_only", allow_cidrs=["127.0.0.1/32"]) as fetcher:
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
        with pytest.raises(offloop.BlockedAddressError, match=r"127\.0\.0\.2"):
            await fetcher.get(origin.url(f"/redirect-to?url=http://127.0.0.2:{origin.port}/"))


async def test_denied_networks_are_refused_and_names_are_overridden(origin: Origin) -> None:
    async with Fetcher(deny_cidrs=["127.0.0.0/8"]) as fetcher:
        with pytest.raises(offloop.BlockedAddressError):
            await fetcher.get(origin.url("/"))
    async with Fetcher(resolve=["some.test:127.0.0.1"]) as fetcher:
        response = await fetcher.get(f"http://some.test:{origin.port}/headers")
    assert ["host", f"some.test:{origin.port}"] in json.loads(response.read())["headers"]


async def test_a_proxy_of_the_environment_is_used_but_never_for_loopback(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", origin.url("/").rstrip("/"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    override = ["direct.test:127.0.0.1"]
    async with Fetcher(fail_on_status=False) as fetcher:
        await fetcher.get("http://far-away.test/page")
        assert (await fetcher.get(origin.url("/bytes/5"))).size == 5
    monkeypatch.setenv("no_proxy", "direct.test")
    async with Fetcher(resolve=override) as fetcher:
        assert (await fetcher.get(f"http://direct.test:{origin.port}/bytes/6")).size == 6
    monkeypatch.delenv("no_proxy")
    async with Fetcher(resolve=override, env_proxy=False) as fetcher:
        assert (await fetcher.get(f"http://direct.test:{origin.port}/bytes/7")).size == 7
    targets = (await asyncio.to_thread(origin.stats)).targets
    assert set(targets) == {"http://far-away.test/page", "/bytes/5", "/bytes/6", "/bytes/7"}
