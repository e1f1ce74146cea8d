"""offloop.fetch_and_hash_urls: what it returns and raises, that its limit holds, what failures and cancels leave."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fetch_helpers import LARGE, ScriptedServer, abandoned, in_progress, quiet

import offloop
from offloop import fetch_and_hash_urls
from offloop.testing import Origin, body_sha256

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


def bodies(origin: Origin, count: int, size: int = 1000) -> dict[str, str]:
    """URLs and the digests of their bodies."""
    return {origin.url(f"/bytes/{size + n}?seed={n}"): body_sha256(size + n, str(n)) for n in range(count)}


# ---- what it returns -------------------------------------------------------------------------------------------------


async def test_every_url_gets_its_digest_in_the_order_of_the_input(origin: Origin) -> None:
    slow = {origin.url("/slow?seconds=0.1&bytes=10&seed=z"): body_sha256(10, "z")}
    expected = {**slow, **bodies(origin, 50), **bodies(origin, 3, LARGE)}
    found = await fetch_and_hash_urls(list(expected))
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("size", [0, 1, 55, 56, 64, 65_535, 65_536, 65_537, 262_144, 262_145, 1_048_576, LARGE])
@pytest.mark.parametrize("route", ["bytes", "chunked", "gzip"])
@pytest.mark.loops("asyncio")
async def test_bodies_of_every_size_hash_right(origin: Origin, route: str, size: int) -> None:
    url = origin.url(f"/{route}/{size}?seed=s")
    assert await fetch_and_hash_urls([url]) == {url: body_sha256(size, "s")}


async def test_many_concurrent_bodies_of_mixed_sizes_hash_right(origin: Origin) -> None:
    expected = {}
    for n in range(200):
        size = (n * 7919) % 997 * (1000 if n % 10 == 0 else 30)
        expected[origin.url(f"/bytes/{size}?seed=mix{n}")] = body_sha256(size, f"mix{n}")
    assert await fetch_and_hash_urls(expected, 64) == expected


async def test_a_url_listed_twice_is_fetched_once(origin: Origin) -> None:
    first, second = bodies(origin, 2)
    found = await fetch_and_hash_urls([first, second, first, first, second], 2)
    assert list(found) == [first, second]
    assert (await asyncio.to_thread(origin.stats)).requests == 2


async def test_no_urls_are_no_digests() -> None:
    assert await fetch_and_hash_urls([]) == {}
    assert await fetch_and_hash_urls(iter(()), return_exceptions=True) == {}


async def test_urls_may_come_from_a_generator_and_other_iterables(origin: Origin) -> None:
    expected = bodies(origin, 5)
    assert await fetch_and_hash_urls(url for url in expected) == expected
    assert await fetch_and_hash_urls(tuple(expected)) == expected
    assert await fetch_and_hash_urls(expected.keys()) == expected


async def test_redirects_are_followed_and_the_key_is_the_url_that_was_given(origin: Origin) -> None:
    url = origin.url("/redirect-to?url=/bytes/500?seed=moved")
    assert await fetch_and_hash_urls([url]) == {url: body_sha256(500, "moved")}


# ---- the limit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 5])
async def test_the_limit_holds_and_is_used(origin: Origin, limit: int) -> None:
    urls = [origin.url(f"/hang?n={n}") for n in range(12)]
    task = asyncio.create_task(fetch_and_hash_urls(urls, limit))
    await in_progress(origin, limit)
    task.cancel()
    await abandoned(origin, limit)
    urls = [origin.url(f"/slow?seconds=0.01&n={n}") for n in range(12)]
    assert len(await fetch_and_hash_urls(urls, max_concurrent=limit)) == 12
    stats = await asyncio.to_thread(origin.stats)
    assert (stats.max_concurrent, stats.paths["/hang"], stats.paths["/slow"]) == (limit, limit, 12)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_default_limit_is_five(origin: Origin) -> None:
    await fetch_and_hash_urls([origin.url(f"/slow?seconds=0.02&n={n}") for n in range(15)])
    assert (await asyncio.to_thread(origin.stats)).max_concurrent == 5


async def test_each_call_has_its_own_limit(origin: Origin) -> None:
    calls = [[origin.url(f"/hang?call={call}&n={n}") for n in range(5)] for call in range(3)]
    tasks = [asyncio.create_task(fetch_and_hash_urls(urls, 2)) for urls in calls]
    await in_progress(origin, 6)
    for task in tasks:
        task.cancel()
    assert {type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}
    assert (await abandoned(origin, 6)).requests == 6


async def test_a_limit_above_the_number_of_urls_is_fine(origin: Origin) -> None:
    expected = bodies(origin, 3)
    assert await fetch_and_hash_urls(expected, 10**30) == expected


@pytest.mark.loops("asyncio")
async def test_the_timeout_is_for_each_url_and_does_not_count_the_queue(origin: Origin) -> None:
    urls = [origin.url(f"/slow?seconds=0.3&n={n}") for n in range(4)]
    assert len(await fetch_and_hash_urls(urls, 1, timeout=1.0)) == 4  # 1.2 s in all


# ---- bad arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "kind", "words"),
    [
        ((0,), {}, ValueError, "max_concurrent must be greater than 0, got 0"),
        ((-1,), {}, ValueError, "max_concurrent must be greater than 0, got -1"),
        ((True,), {}, TypeError, "max_concurrent must be an int, not bool"),
        (("5",), {}, TypeError, "max_concurrent must be an int, not str"),
        ((5.0,), {}, TypeError, "max_concurrent must be an int, not float"),
        ((None,), {}, TypeError, "max_concurrent must be an int, not NoneType"),
        ((), {"timeout": 0}, ValueError, "timeout must be greater than 0 seconds, got 0"),
        ((), {"timeout": "5"}, TypeError, "timeout must be a number of seconds, not str"),
        ((), {"timeout": float("nan")}, ValueError, "timeout must be greater than 0 seconds, got nan"),
        (
            (),
            {"timeout": 1e9},
            ValueError,
            "timeout must be at most 2592000 seconds, or math.inf for none, got 1000000000.0",
        ),
    ],
)
@pytest.mark.parametrize("return_exceptions", [False, True])
@pytest.mark.loops("asyncio")
async def test_a_bad_argument_is_an_error_before_anything_is_fetched(
    origin: Origin, arguments: Any, keywords: Any, kind: type[Exception], words: str, return_exceptions: bool
) -> None:
    for urls in ([origin.url("/")], []):
        with pytest.raises(kind) as caught:
            await fetch_and_hash_urls(urls, *arguments, **keywords, return_exceptions=return_exceptions)
        assert str(caught.value) == words
    assert (await asyncio.to_thread(origin.stats)).requests == 0


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ("http://example.test/", "urls must be an iterable of str, not one str"),
        (b"http://example.test/", "urls must be an iterable of str, not one bytes"),
        (5, "urls must be an iterable of str, not int"),
        (None, "urls must be an iterable of str, not NoneType"),
        ([b"http://example.test/"], "url must be a str, not bytes"),
        (["http://127.0.0.1:1/", None], "url must be a str, not NoneType"),
    ],
)
@pytest.mark.loops("asyncio")
async def test_urls_that_are_no_iterable_of_str_are_a_type_error(urls: Any, words: str) -> None:
    for return_exceptions in (False, True):
        with pytest.raises(TypeError) as caught:
            await fetch_and_hash_urls(urls, return_exceptions=return_exceptions)
        assert str(caught.value) == words


INVALID_URLS = [
    "",
    "x",
    "ftp://h/",
    "file:///etc/passwd",
    "http://",
    "http://h:0/",
    "http://h:99999/",
    "http://a b/",
    "http://h/\udcff",
]


@pytest.mark.parametrize("url", INVALID_URLS)
@pytest.mark.loops("asyncio")
async def test_an_invalid_url_is_an_error_before_anything_is_fetched(origin: Origin, url: str) -> None:
    good = bodies(origin, 2)
    with pytest.raises(offloop.InvalidURLError) as caught:
        await fetch_and_hash_urls([*good, url])
    assert isinstance(caught.value, ValueError)
    assert caught.value.url == (url or None)
    assert not caught.value.retryable
    assert (await asyncio.to_thread(origin.stats)).requests == 0


async def test_with_return_exceptions_an_invalid_url_is_a_value(origin: Origin) -> None:
    good = bodies(origin, 2)
    found = await fetch_and_hash_urls([*INVALID_URLS, *good], return_exceptions=True)
    assert list(found) == [*INVALID_URLS, *good]
    assert {type(found[url]) for url in INVALID_URLS} == {offloop.InvalidURLError}
    assert {url: found[url] for url in good} == good


async def test_an_iterable_that_raises_fetches_nothing(origin: Origin) -> None:
    def urls() -> Iterator[str]:
        yield from bodies(origin, 3)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await fetch_and_hash_urls(urls())
    assert (await asyncio.to_thread(origin.stats)).requests == 0


# ---- failures --------------------------------------------------------------------------------------------------------


async def test_the_first_failure_cancels_the_rest(origin: Origin) -> None:
    running = [origin.url(f"{path}n={n}") for n, path in enumerate(["/hang?", "/endless?", "/drip?seconds=600&"])]
    failing = "http://127.0.0.1:1/"
    with pytest.raises(ExceptionGroup) as caught:
        await fetch_and_hash_urls([*running, failing, *bodies(origin, 20)], 4, timeout=600)
    assert str(caught.value) == "1 of 24 URLs failed (1 sub-exception)"
    (error,) = caught.value.exceptions
    assert (type(error), error.url) == (offloop.ConnectError, failing)  # type: ignore[attr-defined]
    stats = await asyncio.to_thread(origin.wait_for, lambda stats: stats.in_progress == 0)
    assert stats.aborted_by_client == stats.requests  # whatever had been sent by then
    assert stats.paths.keys() <= {"/hang", "/endless", "/drip"}  # nothing was started after the failure


async def test_what_runs_when_one_fails_is_abandoned(origin: Origin) -> None:
    gate = ScriptedServer(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", hold=True)
    urls = [origin.url(f"/hang?n={n}") for n in range(4)]
    with gate:
        # The one that fails starts only when the first, short one of the five has made room for it.
        task = asyncio.create_task(
            fetch_and_hash_urls([*urls, origin.url("/slow?seconds=0.3"), gate.url(), *bodies(origin, 5)], timeout=600)
        )
        await in_progress(origin, 5)
        with pytest.raises(ExceptionGroup) as caught:
            await task
        assert [type(error) for error in caught.value.exceptions] == [offloop.HTTPStatusError]
        stats = await abandoned(origin, 4)
    assert set(stats.paths) == {"/hang", "/slow"}


async def test_with_return_exceptions_the_values_are_digests_or_errors(origin: Origin) -> None:
    good = bodies(origin, 10)
    wrong = {
        origin.url("/status/404"): offloop.HTTPStatusError,
        origin.url("/short"): offloop.IncompleteBodyError,
        origin.url("/redirect-loop"): offloop.TooManyRedirectsError,
        origin.url("/gzip-broken"): offloop.ContentDecodingError,
        "http://127.0.0.1:1/": offloop.ConnectError,
        origin.url("/hang"): offloop.FetchTimeoutError,
    }
    urls = [url for pair in zip(list(good), [*wrong, *list(good)[:4]], strict=True) for url in pair]
    found = await fetch_and_hash_urls(urls, timeout=0.5, return_exceptions=True)
    assert list(found) == list(dict.fromkeys(urls))
    for url, answer in found.items():
        if url in good:
            assert answer == good[url]
        else:
            assert type(answer) is wrong[url]
            assert answer.url == url  # type: ignore[union-attr]


async def test_except_star_takes_the_causing_error(origin: Origin) -> None:
    seen: list[BaseException] = []
    try:
        await fetch_and_hash_urls([origin.url("/status/503"), *bodies(origin, 3)])
    except* offloop.HTTPStatusError as group:
        seen.extend(group.exceptions)
    assert [error.status for error in seen] == [503]  # type: ignore[attr-defined]


async def test_a_failure_leaves_the_fetcher_usable(origin: Origin) -> None:
    expected = bodies(origin, 20)
    for _ in range(10):
        with pytest.raises(ExceptionGroup):
            await fetch_and_hash_urls([*expected, origin.url("/status/500")], 8)
        assert await fetch_and_hash_urls(expected, 8) == expected


# ---- cancellation ----------------------------------------------------------------------------------------------------


async def test_cancelling_it_closes_every_connection(origin: Origin) -> None:
    urls = [origin.url(f"/{path}?n={n}") for n, path in enumerate(["hang", "endless"] * 5)]
    task = asyncio.create_task(fetch_and_hash_urls(urls, 6, timeout=600))
    await in_progress(origin, 6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await abandoned(origin, 6)).requests == 6


async def test_a_timeout_around_it_closes_every_connection(origin: Origin) -> None:
    urls = [origin.url(f"/hang?n={n}") for n in range(3)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await fetch_and_hash_urls(urls, timeout=600)
    await abandoned(origin, 3)


async def test_with_return_exceptions_a_cancel_is_still_a_cancel(origin: Origin) -> None:
    urls = [origin.url("/hang"), origin.url("/status/404")]
    task = asyncio.create_task(fetch_and_hash_urls(urls, timeout=600, return_exceptions=True))
    await asyncio.to_thread(origin.wait_for, lambda stats: stats.requests == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await abandoned(origin, 1)


async def test_in_a_task_group_a_failing_call_cancels_the_other(origin: Origin) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(fetch_and_hash_urls([origin.url(f"/hang?n={n}") for n in range(3)], timeout=600))
            await in_progress(origin, 3)
            group.create_task(fetch_and_hash_urls([origin.url("/status/404")]))
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert [type(error) for error in inner.exceptions] == [offloop.HTTPStatusError]
    await abandoned(origin, 3)


async def test_cancelled_again_and_again_nothing_is_lost(origin: Origin) -> None:
    expected = bodies(origin, 30, 100_000)
    for turn in range(30):
        task = asyncio.create_task(fetch_and_hash_urls(expected, 10))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        try:
            assert await task == expected
        except asyncio.CancelledError:
            pass
    assert await fetch_and_hash_urls(expected, 10) == expected


# ---- memory ----------------------------------------------------------------------------------------------------------


async def test_bodies_never_enter_python(origin: Origin) -> None:
    url = origin.url("/bytes/50000000?seed=py")
    tracemalloc.start()
    try:
        found = await fetch_and_hash_urls([url])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == {url: body_sha256(50_000_000, "py")}
    assert peak < 1_000_000


def test_peak_memory_does_not_grow_with_the_body(origin: Origin) -> None:
    """300 MB in four bodies at once, in a process whose memory is measured before and after."""
    urls = [origin.url(f"/bytes/75000000?seed={n}") for n in range(4)]
    ended = subprocess.run(
        [sys.executable, PROGRAMS / "fetch_memory.py", *urls], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    *digests, grown = ended.stdout.split()
    assert digests == [body_sha256(75_000_000, str(n)) for n in range(4)]
    assert int(grown) < 60_000, f"the peak grew by {grown} KiB"
