"""The native variant: all payloads submitted at once to the same core, no Python."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from offloop.bench.model import Contender, Running
from offloop.bench.native import native_program
from offloop.bench.tasks.hash import HashWork


@contextlib.contextmanager
def _open(work: HashWork) -> Iterator[Running]:
    with tempfile.NamedTemporaryFile(prefix="offloop-bench-") as file:
        for payload in work.payloads:
            file.write(len(payload).to_bytes(8, "little"))
            file.write(payload)
        file.flush()
        with native_program(["hash", file.name], work.bursts) as running:
            yield running


CONTENDERS = [
    Contender("native", "native", "offloop-native-bench, the same core and as many workers", _open, classic=True)
]
