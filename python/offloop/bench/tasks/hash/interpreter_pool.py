"""InterpreterPoolExecutor (Python 3.14 and later): an interpreter with a GIL of its own in each thread."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Iterator, Sequence

from offloop.bench.model import Contender, Missing, Running
from offloop.bench.on_loop import on_loop, together
from offloop.bench.tasks.hash import HashWork
from offloop.bench.tasks.hash.thread_pool import CHUNKS_A_WORKER, CORES, in_chunks


def _hash_in_interpreter(payloads: Sequence[bytes]) -> list[str]:
    # Stands alone, for the code is sent there: this package itself cannot be imported in a subinterpreter.
    import hashlib

    return [hashlib.sha256(payload).hexdigest() for payload in payloads]


@contextlib.contextmanager
def _open(work: HashWork) -> Iterator[Running]:
    if not hasattr(concurrent.futures, "InterpreterPoolExecutor"):
        raise Missing("InterpreterPoolExecutor came with Python 3.14")
    payloads = tuple(work.payloads)  # tuples of bytes are shared, lists are pickled byte by byte: 15 times as slow
    with (
        concurrent.futures.InterpreterPoolExecutor(CORES) as pool,
        on_loop(together(in_chunks(pool, _hash_in_interpreter), payloads), work.bursts) as running,
    ):
        yield running


CONTENDERS = [
    Contender(
        "InterpreterPoolExecutor",
        "asyncio",
        f"{CORES} interpreters, {CHUNKS_A_WORKER} chunks each, as tuples of bytes",
        _open,
    )
]
