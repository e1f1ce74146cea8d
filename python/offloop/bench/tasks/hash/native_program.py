"""The native variant: all payloads submitted at once to the same core, no Python."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from offloop.bench.model import Contender, Running
from offloop.bench.native import native_program, payload_file
from offloop.bench.tasks.hash import HashWork


@contextlib.contextmanager
def _open(work: HashWork) -> Iterator[Running]:
    with payload_file(work.payloads) as path, native_program(["hash", path], work.bursts) as running:
        yield running


CONTENDERS = [
    Contender("native", "native", "offloop-native-bench, the same core and as many workers", _open, classic=True)
]
