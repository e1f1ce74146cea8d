"""offloop, one call for all payloads."""

from __future__ import annotations

from contextlib import AbstractContextManager

import offloop
from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import on_loop, together
from offloop.bench.tasks.hash import HashWork


def _open(work: HashWork) -> AbstractContextManager[Running]:
    return on_loop(together(offloop.sha256_many, work.payloads), work.bursts)


CONTENDERS = [Contender("offloop, sha256_many", "hybrid", "one await for all payloads; defaults throughout", _open)]
