"""The native variant: all pictures submitted at once to the same core, no Python."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from offloop.bench.model import Contender, Running
from offloop.bench.native import IMAGE_PROGRAM, native_program, payload_file
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import offloop_image, picture_of


@contextlib.contextmanager
def _open(work: ImageWork) -> Iterator[Running]:
    offloop_image()  # the program needs the same libraries
    with payload_file(work.pictures) as path:
        arguments = ["memory", path, str(work.width)]
        with native_program(arguments, work.bursts, program=IMAGE_PROGRAM, answer=picture_of) as running:
            yield running


CONTENDERS = [
    Contender("native", "native", f"{IMAGE_PROGRAM.name}, the same core and as many workers", _open, classic=True)
]
