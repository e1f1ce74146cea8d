"""HTTP/2: many transfers share one connection, and each of them stays its own. The origin is nginx."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from bridge_helpers import PATIENCE_S, block_until, until

import offloop
from offloop.fetch import Fetcher, ResponseInfo
from offloop.testing import NginxOrigin, Origin, body_bytes, body_sha256, find_nginx

# What is tested is between the core and the server, the same on every loop.
pytestmark = [pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed"), pytest.mark.loops("asyncio")]

SMALL = 4000
LARGE = 3_000_017


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxOrigin]:
    root = tmp_path_factory.mktemp("root")
    for size in (0, SMALL, LARGE):
        (root / f"{size}").write_bytes(body_bytes(size))
    with NginxOrigin(root, http2=True) as started:
        yield started


def fetcher(nginx: NginxOrigin, *, http2: bool = True) -> Fetcher:
    return Fetcher(ca_file=nginx.ca_file, http2=http2, max_concurrent=200, timeout=PATIENCE_S, env_proxy=False)


def connections(responses: Sequence[ResponseInfo]) -> set[str]:
    return {dict(response.headers)["x-connection"] for response in responses}


class Begun:
    """A consumer of a body that says when its first bytes are there."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.body = bytearray()

    def __call__(self, data: memoryview) -> None:
        self.body += data
        self.event.set()


async def test_many_transfers_share_one_connection(nginx: NginxOrigin) -> None:
    async with fetcher(nginx) as client:
        responses = await asyncio.gather(*(client.get(nginx.url(f"/{SMALL}?{n}")) for n in range(100)))
        assert {response.http_version for response in responses} == {"2"}
        assert {bytes(response.body) for response in responses} == {body_bytes(SMALL)}
        assert len(connections(responses)) == 1
        assert client.stats()["connections_opened"] == 1
        again = await client.get(nginx.url("/0"))
        assert again.reused_connection
        assert again.size == 0
        assert connections([again]) == connections(responses)


async def test_digests_are_right_and_bodies_whole(nginx: NginxOrigin, tmp_path: Path) -> None:
    async with fetcher(nginx) as client:
        hashed = [client.hash(nginx.url(f"/{size}?{n}")) for n in range(4) for size in (0, SMALL, LARGE)]
        file = client.stream(nginx.url(f"/{LARGE}"), tmp_path / "body")
        for n, operation in enumerate(hashed):
            answer = await operation
            assert (answer.hexdigest, answer.http_version) == (body_sha256((0, SMALL, LARGE)[n % 3]), "2")
        await file
        assert (tmp_path / "body").read_bytes() == body_bytes(LARGE)


async def test_a_cancelled_transfer_leaves_the_others_of_its_connection_alone(nginx: NginxOrigin) -> None:
    before = len(nginx.served())
    async with fetcher(nginx) as client:
        cancelled, kept = Begun(), Begun()
        slow = client.stream(nginx.url(f"/{LARGE}?rate=1000&cancelled"), cancelled)
        other = client.stream(nginx.url(f"/{LARGE}?rate=6000000"), kept)
        for consumer in (cancelled, kept):
            await asyncio.wait_for(consumer.event.wait(), PATIENCE_S)
        assert slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        # The server is told, and ends that stream alone.
        await until(lambda: len(nginx.served()) > before, "the end of a request")
        ended = nginx.served()[before]
        assert ended.path.endswith("&cancelled")
        assert ended.body_bytes < LARGE
        done = await other
        assert bytes(kept.body) == body_bytes(LARGE)
        later = await client.get(nginx.url(f"/{SMALL}"))
        assert connections([done, later]) == {str(ended.connection)}
        assert client.stats()["connections_opened"] == 1


async def test_a_timeout_and_a_limit_end_their_own_transfer_only(nginx: NginxOrigin) -> None:
    async with fetcher(nginx) as client:
        await client.get(nginx.url("/0"))  # the connection is there: nobody's time runs out while it is made
        late = client.get(nginx.url(f"/{LARGE}?rate=1000"), timeout=0.3)
        large = client.get(nginx.url(f"/{LARGE}?rate=200000"), max_body=100_000)
        missing = client.get(nginx.url("/missing"))
        other = client.get(nginx.url(f"/{LARGE}?rate=6000000"))
        with pytest.raises(offloop.FetchTimeoutError):
            await late
        with pytest.raises(offloop.BodyTooLargeError):
            await large
        with pytest.raises(offloop.HTTPStatusError):
            await missing
        assert bytes((await other).body) == body_bytes(LARGE)
        assert client.stats()["connections_opened"] == 1


async def test_consumers_that_take_nothing_do_not_stop_the_others_of_their_connection(nginx: NginxOrigin) -> None:
    async with fetcher(nginx) as client:
        operations = [client.stream(nginx.url(f"/{LARGE}?{n}"), lambda _: None) for n in range(5)]
        hashed = client.hash(nginx.url(f"/{LARGE}"))
        # The loop does not turn: the five come to a stop when four chunks of each wait, a third of the body.
        block_until(lambda: client.stats()["done"] == 1, "the one that nobody has to take")
        assert (await hashed).hexdigest == body_sha256(LARGE)
        assert {info.size for info in await asyncio.gather(*operations)} == {LARGE}
        assert client.stats()["connections_opened"] == 1


async def test_a_connection_that_is_lost_is_an_error_of_each_of_its_transfers(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(body_bytes(LARGE))
    with NginxOrigin(tmp_path, http2=True) as own:
        async with fetcher(own) as client:
            consumers = [Begun() for _ in range(5)]
            operations = [client.stream(own.url(f"/file?rate=1000&{n}"), one) for n, one in enumerate(consumers)]
            for consumer in consumers:
                await asyncio.wait_for(consumer.event.wait(), PATIENCE_S)
            await asyncio.to_thread(own.stop)
            errors = await asyncio.gather(*operations, return_exceptions=True)
    assert {type(error) for error in errors} == {offloop.IncompleteBodyError}


async def test_without_it_on_either_side_it_is_http_1(nginx: NginxOrigin) -> None:
    async with fetcher(nginx, http2=False) as client:
        assert (await client.get(nginx.url("/0"))).http_version == "1.1"
    with Origin(tls=True) as origin:
        async with Fetcher(ca_file=origin.ca_file, http2=True, env_proxy=False) as client:
            assert (await client.get(origin.url("/bytes/5"))).http_version == "1.1"
    with Origin() as origin:
        async with Fetcher(http2=True, env_proxy=False) as client:
            assert (await client.get(origin.url("/bytes/5"))).http_version == "1.1"
