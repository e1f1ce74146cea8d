"""The blake3 package: another, faster hash function, which is what some would pick instead. No drop-in for SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Missing, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash import HashWork


def _open(work: HashWork) -> AbstractContextManager[Running]:
    try:
        from blake3 import blake3
    except ImportError:
        raise Missing("the package blake3 is not installed (pip install blake3)") from None

    async def one(payload: bytes) -> str:
        digest: str = blake3(payload, max_threads=blake3.AUTO).hexdigest()
        return digest

    return on_loop(each(one, work.payloads, work.at_once), work.bursts)


def _answers(work: HashWork) -> Sequence[str]:
    """By the one-threaded, incremental interface, which is another way than the contender's."""
    from blake3 import blake3

    answers = []
    for payload in work.payloads:
        hasher = blake3()
        for start in range(0, len(payload), 4093):
            hasher.update(payload[start : start + 4093])
        answers.append(hasher.hexdigest())
    return answers


CONTENDERS = [
    Contender("blake3 package", "other", "BLAKE3 instead of SHA-256, inline, all its threads", _open, answers=_answers)
]
