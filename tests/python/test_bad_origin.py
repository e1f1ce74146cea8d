"""Every fault of `BadOrigin`, fetched in every way: the class of its error or the right body, within the deadline, and
the fetcher goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import offloop
from offloop import fetch_and_hash_urls
from offloop.fetch import Fetcher
from offloop.testing import BadOrigin, Fault, body_sha256
from offloop.testing.bad_origin_table import as_markdown

# Of a request whose fault only a timeout ends, and of the others.
SHORT_S = 0.5
LONG_S = 20.0
# What a busy machine may add to a deadline.
SLACK_S = 2.0

Fetch = Callable[[Fetcher, str, float, Path], Awaitable[str]]


@pytest.fixture(scope="module")
def bad() -> Iterator[BadOrigin]:
    try:
        started = BadOrigin().start()
    except RuntimeError as error:
        if "openssl program" in str(error):
            pytest.skip(str(error))
        raise
    yield started
    started.stop()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def get(fetcher: Fetcher, url: str, timeout: float, folder: Path) -> str:
    return sha256((await fetcher.get(url, timeout=timeout)).read())


async def into_a_digest(fetcher: Fetcher, url: str, timeout: float, folder: Path) -> str:
    return (await fetcher.hash(url, timeout=timeout)).hexdigest


async def into_a_file(fetcher: Fetcher, url: str, timeout: float, folder: Path) -> str:
    file = folder / "file"
    try:
        await fetcher.stream(url, file, timeout=timeout)
    except offloop.FetchError:
        assert os.listdir(folder) == []
        raise
    return sha256(file.read_bytes())


async def past_a_function(fetcher: Fetcher, url: str, timeout: float, folder: Path) -> str:
    digest = hashlib.sha256()
    await fetcher.stream(url, digest.update, timeout=timeout)
    return digest.hexdigest()


async def among_many(fetcher: Fetcher, url: str, timeout: float, folder: Path) -> str:
    """By the function that has a fetcher of its own."""
    found = (await fetch_and_hash_urls([url], timeout=timeout, return_exceptions=True))[url]
    if isinstance(found, BaseException):
        raise found
    return found


WAYS: list[Fetch] = [get, into_a_digest, into_a_file, past_a_function, among_many]


def timeout_for(fault: Fault) -> float:
    return SHORT_S if fault.error is offloop.FetchTimeoutError else LONG_S


async def gives(fault: Fault, fetch: Fetch, fetcher: Fetcher, url: str, folder: Path) -> None:
    """What the table promises, for one way to fetch."""
    timeout = timeout_for(fault)
    began = time.monotonic()
    if fault.error is None:
        assert fault.body is not None
        assert await fetch(fetcher, url, timeout, folder) == sha256(fault.body)
    else:
        with pytest.raises(offloop.FetchError) as caught:
            await fetch(fetcher, url, timeout, folder)
        assert (type(caught.value), caught.value.retryable) == (fault.error, fault.retryable), str(caught.value)
        assert caught.value.url == url
    took = time.monotonic() - began
    assert took <= 1.1 * timeout + SLACK_S, f"{fetch.__name__} took {took:.1f} s of {timeout:g} s"


@pytest.mark.parametrize("fault", BadOrigin.faults, ids=str)
@pytest.mark.loops("asyncio")
async def test_a_fault_gives_what_the_table_says_in_every_way(bad: BadOrigin, tmp_path: Path, fault: Fault) -> None:
    url = bad.url(fault)
    ways = [fetch for fetch in WAYS if fetch is not among_many or not fault.needs_options]
    async with Fetcher(**bad.options, connect_timeout=LONG_S) as fetcher:
        await asyncio.gather(*(gives(fault, fetch, fetcher, url, tmp_path) for fetch in ways))
        assert (await fetcher.hash(bad.url("/bytes/1000"), timeout=LONG_S)).hexdigest == body_sha256(1000)
        stats = fetcher.stats()
        assert (stats["running"], stats["queued"]) == (0, 0)
        await asyncio.to_thread(bad.wait_for, lambda seen: seen.in_progress == 0)


async def test_all_faults_at_once_do_not_touch_each_other(bad: BadOrigin, tmp_path: Path) -> None:
    async with Fetcher(**bad.options, max_concurrent=64, connect_timeout=LONG_S) as fetcher:

        async def right(number: int) -> None:
            found = await fetcher.hash(bad.url(f"/bytes/{number * 100}?seed=right"), timeout=LONG_S)
            assert found.hexdigest == body_sha256(number * 100, "right")

        async with asyncio.TaskGroup() as group:
            for number, fault in enumerate(bad.faults):
                fetch = (get, into_a_digest, past_a_function)[number % 3]
                group.create_task(gives(fault, fetch, fetcher, bad.url(fault), tmp_path))
                group.create_task(right(number))
        assert (fetcher.stats()["running"], fetcher.stats()["queued"]) == (0, 0)


@pytest.mark.loops("asyncio")
async def test_with_the_machine_s_certificates_no_fault_of_tls_passes(bad: BadOrigin, tmp_path: Path) -> None:
    faults = [fault for fault in bad.faults if fault.scheme == "https" and fault.needs_options]
    assert faults
    async with Fetcher() as fetcher:
        for fault in faults:
            with pytest.raises(offloop.TLSError):
                await fetcher.get(bad.url(fault))


# ---- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_all_kinds_of_faults() -> None:
    faults = BadOrigin.faults
    assert len(faults) == len({fault.name for fault in faults}) == len({fault.description for fault in faults})
    assert sum(fault.error is not None for fault in faults) >= 60
    groups = {"status", "head", "redirect", "framing", "coding", "size", "close", "delay", "connect", "tls"}
    assert set(Counter(fault.group for fault in faults)) == groups
    every = {
        error
        for error in vars(offloop.errors).values()
        if isinstance(error, type) and issubclass(error, offloop.FetchError)
    }
    # The rest need no origin: a URL, a name and a policy.
    missing = {offloop.InvalidURLError, offloop.DNSError, offloop.BlockedAddressError}
    assert {fault.error for fault in faults} - {None} == every - missing
    for fault in faults:
        assert (fault.error is None) == (fault.body is not None), fault
        assert not (fault.error is None and fault.retryable), fault
        assert BadOrigin.fault(fault.name) is fault
    with pytest.raises(KeyError):
        BadOrigin.fault("no such fault")


def test_the_table_is_published_as_it_is() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "bad-origin.md"
    assert page.read_text().endswith("\n\n" + as_markdown()), (
        "put as_markdown() of offloop.testing.bad_origin_table there"
    )


def test_it_is_an_origin_too(bad: BadOrigin) -> None:
    assert bad.url("/x") == f"http://127.0.0.1:{bad.port}/x"
    with pytest.raises(RuntimeError, match="not started"):
        BadOrigin().url(BadOrigin.faults[0])
