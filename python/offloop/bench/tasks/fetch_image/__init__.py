"""Fetching photographs, resizing and hashing them: from a local origin in processes of its own, or the user's list."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from offloop.bench.model import Case
from offloop.bench.tasks import contenders_of
from offloop.bench.tasks.fetch import CONNECTIONS, FetchWork, read_list
from offloop.bench.tasks.hash import size_name
from offloop.bench.tasks.image import (
    NO_PILLOW,
    SMALL_WIDTH,
    gaps,
    has_pillow,
    mean_size,
    references,
    small_photographs,
)
from offloop.testing import NginxOrigin, Origin, find_nginx

if TYPE_CHECKING:
    from offloop.bench.tasks.image.reference import Reference  # with Pillow

FILES = (
    "aiohttp_inline",
    "aiohttp_threads",
    "uvloop_aiohttp",
    "aiohttp_pyvips",
    "hybrid_each",
    "native_program",
)


class Fetched(NamedTuple):
    """What a contender answers: SHA-256 of the body and of the result, and the result."""

    body_sha256: str
    sha256: str
    data: bytes


class Right(NamedTuple):
    """What is expected: the body's digest, and the picture."""

    body_sha256: str
    picture: Reference


@dataclass(frozen=True, slots=True)
class FetchImageWork:
    """What every contender of this task gets: what to fetch, and the width of the results."""

    fetch: FetchWork
    width: int


def table(*, quick: bool, seed: int, at_once: int | None) -> Generator[Case]:
    """Small photographs, from nginx where it is installed, else from the embedded origin."""
    if not has_pillow():
        yield gaps("fetch_image", "photographs from a local origin", contenders_of(__name__, FILES))
        return
    pictures = small_photographs(8 if quick else 64, seed)
    count = 64 if quick else 256
    with _origin(pictures) as (name, url_of):
        urls = [url_of(index % len(pictures), index) for index in range(count)]
        work = FetchWork(urls, 1, at_once or CONNECTIONS, {})
        what = f"{count} JPEG of {size_name(mean_size(pictures))} from {name} to {SMALL_WIDTH} px"
        yield _case(what, work, [pictures[index % len(pictures)] for index in range(count)])


def listed(path: Path, at_once: int | None) -> Case:
    """The JPEG pictures that a file names by their URLs. Each is fetched once before, by urllib, to know what is right.

    Raises OSError, or ValueError when the file lists none, or one cannot be fetched or is no picture.
    """
    if not has_pillow():
        raise ValueError(NO_PILLOW)
    work, bodies = read_list(path, at_once)
    return _case(f"{len(bodies)} URLs of {path.name} to {SMALL_WIDTH} px", work, bodies, names=work.urls)


def answered(body: bytes, resized: bytes) -> Fetched:
    """What the asyncio contenders answer."""
    return Fetched(hashlib.sha256(body).hexdigest(), hashlib.sha256(resized).hexdigest(), resized)


def judge(answer: Any, right: Right) -> str | None:
    """`Judge` of this task: the digests, and the picture."""
    if not isinstance(answer, Fetched):
        return f"is no picture: {answer!r}"
    if answer.body_sha256 != right.body_sha256:
        return f"is of a body with SHA-256 {answer.body_sha256}, expected {right.body_sha256}"
    return right.picture.judge(answer.data, answer.sha256)


def _case(name: str, work: FetchWork, bodies: Sequence[bytes], names: Sequence[str] | None = None) -> Case:
    pictures = references(bodies, SMALL_WIDTH, names)
    digests = {body: hashlib.sha256(body).hexdigest() for body in set(bodies)}
    return Case(
        task="fetch_image",
        name=name,
        items=len(bodies),
        total_bytes=sum(map(len, bodies)),
        bursts=work.bursts,
        work=FetchImageWork(work, SMALL_WIDTH),
        expected=[Right(digests[body], picture) for body, picture in zip(bodies, pictures, strict=True)],
        contenders=contenders_of(__name__, FILES),
        judge=judge,
    )


@contextlib.contextmanager
def _origin(pictures: Sequence[bytes]) -> Iterator[tuple[str, Callable[[int, int], str]]]:
    """The name of the origin, and a function that gives a URL of a picture, another one for each number."""
    with tempfile.TemporaryDirectory(prefix="offloop-bench-") as folder:
        os.chmod(folder, 0o755)
        for index, data in enumerate(pictures):
            (Path(folder) / f"{index}.jpg").write_bytes(data)
        if find_nginx() is None:
            with Origin(root=folder) as embedded:
                yield "the embedded origin", lambda index, number: embedded.url(f"/files/{index}.jpg?{number}")
        else:
            with NginxOrigin(folder) as nginx:  # ignores the query of a file
                yield "nginx", lambda index, number: nginx.url(f"/{index}.jpg?{number}")
