"""fetch_url: the bytes of a URL in one call."""

from __future__ import annotations

import asyncio

import pytest
from fetch_helpers import LARGE, abandoned, quiet

import offloop
from offloop.fetch import Fetcher, fetch_url
from offloop.testing import Origin, body_bytes


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


async def test_fetch_url_gives_the_bytes(origin: Origin) -> None:
    body = await fetch_url(origin.url(f"/gzip/{LARGE}"))
    assert type(body) is bytes
    assert body == body_bytes(LARGE)
    assert await offloop.fetch_url(origin.url("/redirect/2"), timeout=5) == await fetch_url(origin.url("/"))


async def test_fetch_url_keeps_connections_between_calls(origin: Origin) -> None:
    for _ in range(10):
        await fetch_url(origin.url("/bytes/10"))
    assert (await asyncio.to_thread(origin.stats)).connections <= 1


def test_fetch_url_can_be_run_by_itself(origin: Origin) -> None:
    assert asyncio.run(fetch_url(origin.url("/bytes/10"))) == body_bytes(10)  # type: ignore[arg-type]


async def test_fetch_url_takes_no_timeout_for_none(origin: Origin) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds, not NoneType"):
        fetch_url(origin.url("/"), timeout=None)  # type: ignore[arg-type]


async def test_fetch_url_says_what_failed(origin: Origin) -> None:
    url = origin.url("/status/404")
    with pytest.raises(offloop.HTTPStatusError) as caught:
        await fetch_url(url)
    assert str(caught.value) == f"Fetch failed for {url}: HTTP status 404"
    assert (caught.value.status, caught.value.url, caught.value.retryable) == (404, url, False)
    url = origin.url("/short")
    with pytest.raises(offloop.FetchError) as failed:
        await fetch_url(url)
    assert str(failed.value).startswith(f"Fetch failed for {url}: ")


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 425, 429, 500, 501, 502, 503, 504, 522, 524, 599])
@pytest.mark.loops("asyncio")
async def test_a_status_of_400_or_above_is_an_http_status_error(origin: Origin, status: int) -> None:
    with pytest.raises(offloop.HTTPStatusError) as caught:
        await fetch_url(origin.url(f"/status/{status}"))
    assert caught.value.status == status
    assert caught.value.retryable == (status in {408, 425, 429, 500, 502, 503, 504, 522, 524})


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299, 300, 304, 399])
@pytest.mark.loops("asyncio")
async def test_a_status_below_400_is_an_answer(origin: Origin, status: int) -> None:
    body = await fetch_url(origin.url(f"/status/{status}"))
    assert body == (b"" if status in (204, 304) else b"status %d\n" % status)


@pytest.mark.parametrize(("timeout", "words"), [(0.25, "0.25s"), (1, "1s"), (0.3, "0.3s")])
@pytest.mark.loops("asyncio")
async def test_fetch_url_says_how_long_it_waited(origin: Origin, timeout: float, words: str) -> None:
    url = origin.url("/hang")
    with pytest.raises(offloop.FetchTimeoutError) as caught:
        await fetch_url(url, timeout=timeout)
    assert str(caught.value) == f"Fetch timed out for {url} after {words}"
    assert (caught.value.url, caught.value.retryable) == (url, True)
    assert isinstance(caught.value, TimeoutError)
    await abandoned(origin, 1)


@pytest.mark.loops("asyncio")
async def test_a_timeout_counts_all_hops_and_not_the_queue(origin: Origin) -> None:
    async with Fetcher(max_concurrent=1, timeout=1.0) as fetcher:
        waits = [fetcher.get(origin.url("/slow?seconds=0.4")) for _ in range(4)]  # the last one queues for 1.2 s
        assert [response.size for response in await asyncio.gather(*waits)] == [16] * 4
        with pytest.raises(offloop.FetchTimeoutError):
            await fetcher.get(origin.url("/redirect-to?url=/slow%3Fseconds=0.5"), timeout=0.3)


async def test_a_password_in_a_url_is_not_repeated_in_the_error(origin: Origin) -> None:
    url = f"http://user:secret@127.0.0.1:{origin.port}/status/404"
    with pytest.raises(offloop.HTTPStatusError) as caught:
        await fetch_url(url)
    assert "secret" not in str(caught.value) + repr(caught.value) + str(caught.value.url)
    assert str(caught.value) == f"Fetch failed for http://user:***@127.0.0.1:{origin.port}/status/404: HTTP status 404"
