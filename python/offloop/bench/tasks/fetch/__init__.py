"""Fetching URLs and hashing their bodies: from a local origin in processes of its own, or the user's list."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
import urllib.request
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offloop.bench.model import Case
from offloop.bench.tasks import contenders_of
from offloop.bench.tasks.hash import MB, ROUND_BYTES, size_name
from offloop.testing import NginxOrigin, Origin, body_sha256, find_nginx

FILES = ("aiohttp_inline", "aiohttp_threads", "uvloop_aiohttp", "hybrid_each", "hybrid_many", "native_program")

CONNECTIONS = 64
CONNECTIONS_ELSEWHERE = 8  # of a list of the user's: those servers are somebody's
TIMEOUT_SECONDS = 120.0
BODIES = 16  # different ones of each size, so that an answer cannot be right by chance
_ROUND_ITEMS = 300
_IDENTITY = {"Accept-Encoding": "identity"}  # what is hashed must not depend on who decodes what


@dataclass(frozen=True, slots=True)
class FetchWork:
    """What every contender of this task gets.

    Attributes:
        urls: all different, for offloop fetches a URL that is listed twice once.
        bursts: how often a round fetches them all.
        at_once: connections, and transfers in flight.
        headers: sent with every request.
    """

    urls: Sequence[str]
    bursts: int
    at_once: int
    headers: dict[str, str]


def hash_here(body: bytes) -> str:
    """What the asyncio contenders call."""
    return hashlib.sha256(body).hexdigest()


def table(sizes: Sequence[int], *, quick: bool, seed: int, at_once: int | None) -> Generator[Case]:
    """The sizes of the hash table, from nginx where it is installed, else from the embedded origin."""
    with _origin(sizes, seed) as (name, url_and_digest):
        for size in sizes:
            count = (20 if size >= MB else 100) if quick else max(100, min(5000, 100 * 10 * MB // size // 5))
            pairs = [url_and_digest(size, index) for index in range(count)]
            bursts = max(1, min(ROUND_BYTES // (count * size), _ROUND_ITEMS // count))
            work = FetchWork([url for url, _ in pairs], bursts, at_once or CONNECTIONS, {})
            yield _case(f"{count} x {size_name(size)} from {name}", work, [digest for _, digest in pairs], count * size)


def listed(path: Path, at_once: int | None) -> Case:
    """The URLs of a file, one a line; raises as `read_list`."""
    work, bodies = read_list(path, at_once)
    expected = [hash_here(body) for body in bodies]
    return _case(f"{len(bodies)} URLs of {path.name}", work, expected, sum(map(len, bodies)))


def read_list(path: Path, at_once: int | None) -> tuple[FetchWork, list[bytes]]:
    """The URLs of a file, one a line, and their bodies: each is fetched once, by urllib, to know what is right.

    Raises OSError, or ValueError when the file lists none or one cannot be fetched.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    urls = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not urls:
        raise ValueError(f"{path}: expected URLs in it, one a line, found none")
    return FetchWork(urls, 1, at_once or CONNECTIONS_ELSEWHERE, _IDENTITY), [_fetch(url) for url in urls]


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=_IDENTITY), timeout=TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read()
    except (OSError, ValueError) as error:
        raise ValueError(f"{url}: cannot be fetched: {error}") from error
    return body


def _case(name: str, work: FetchWork, expected: Sequence[str], total: int) -> Case:
    return Case(
        task="fetch",
        name=name,
        items=len(work.urls),
        total_bytes=total,
        bursts=work.bursts,
        work=work,
        expected=expected,
        contenders=contenders_of(__name__, FILES),
    )


@contextlib.contextmanager
def _origin(sizes: Sequence[int], seed: int) -> Iterator[tuple[str, Callable[[int, int], tuple[str, str]]]]:
    """The name of the origin, and a function that gives URL and digest of the body number `index` of a size."""
    if find_nginx() is None:
        with Origin() as embedded:
            yield (
                "the embedded origin",
                lambda size, index: (
                    embedded.url(f"/bytes/{size}?seed={index % BODIES}&n={index}"),
                    body_sha256(size, index % BODIES),
                ),
            )
        return
    with tempfile.TemporaryDirectory(prefix="offloop-bench-") as folder:
        digests = _write_files(Path(folder), sizes, seed)
        os.chmod(folder, 0o755)
        with NginxOrigin(folder) as nginx:  # ignores the query of a file

            def url_and_digest(size: int, index: int) -> tuple[str, str]:
                name = f"{size}-{index % BODIES}"
                return nginx.url(f"/{name}?{index}"), digests[name]

            yield "nginx", url_and_digest


def _write_files(folder: Path, sizes: Sequence[int], seed: int) -> dict[str, str]:
    """Make BODIES bodies of each size; name to digest."""
    digests = {}
    for size in sizes:
        base = random.Random(seed * 1_000_003 + size).randbytes(size)
        for index in range(BODIES):
            body = (index.to_bytes(8, "big") + base[8:])[:size]
            (folder / f"{size}-{index}").write_bytes(body)
            digests[f"{size}-{index}"] = hash_here(body)
    return digests
