"""The native variant: the same core fetches and hashes, no Python."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from offloop.bench.model import Contender, Running
from offloop.bench.native import native_program
from offloop.bench.tasks.fetch import FetchWork


@contextlib.contextmanager
def _open(work: FetchWork) -> Iterator[Running]:
    with tempfile.NamedTemporaryFile("w", prefix="offloop-bench-", encoding="utf-8") as file:
        file.writelines(f"{url}\n" for url in work.urls)
        file.flush()
        with native_program(["fetch", file.name, str(work.at_once)], work.bursts) as running:
            yield running


CONTENDERS = [Contender("native", "native", "offloop-native-bench, the same core, one I/O thread", _open, classic=True)]
