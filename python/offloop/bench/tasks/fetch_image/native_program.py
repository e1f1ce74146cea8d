"""The native variant: so many transfers at a time, resized and hashed by the same core, no Python."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from offloop.bench.model import Contender, Running
from offloop.bench.native import IMAGE_PROGRAM, native_program
from offloop.bench.tasks.fetch_image import Fetched, FetchImageWork
from offloop.bench.tasks.image.resizing import offloop_image, picture_of


def fetched_of(text: str) -> Fetched | str:
    """What the program wrote of a URL: both digests and the picture, or an error in words."""
    body_sha256, _, rest = text.partition(" ")
    sha256, _, hexadecimal = rest.partition(" ")
    data = picture_of(hexadecimal)
    return Fetched(body_sha256, sha256, data) if isinstance(data, bytes) and data else text


@contextlib.contextmanager
def _open(work: FetchImageWork) -> Iterator[Running]:
    offloop_image()  # the program needs the same libraries
    with tempfile.NamedTemporaryFile("w", prefix="offloop-bench-", encoding="utf-8") as file:
        file.writelines(f"{url}\n" for url in work.fetch.urls)
        file.flush()
        arguments = ["fetch", file.name, str(work.fetch.at_once), str(work.width)]
        with native_program(arguments, work.fetch.bursts, program=IMAGE_PROGRAM, answer=fetched_of) as running:
            yield running


CONTENDERS = [
    Contender("native", "native", f"{IMAGE_PROGRAM.name}, the same core, one I/O thread", _open, classic=True)
]
