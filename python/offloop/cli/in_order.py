"""Puts records into the order of the listing, as far as that can be done in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

# About 6 MB. A listing whose slowest URL is further behind than this is written slightly out of order instead of
# holding up the rest or growing; `index` in each record tells.
MAX_HELD = 10_000


class Indexed(Protocol):
    """A record of a listing."""

    @property
    def index(self) -> int:
        """The entry's place in the listing, from 0."""


Entry = TypeVar("Entry", bound=Indexed)


class InOrder(Generic[Entry]):
    """Calls `write` once for each record, in the order of their indices while at most `max_held` wait for one."""

    def __init__(self, write: Callable[[Entry], None], max_held: int = MAX_HELD) -> None:
        self._write = write
        self._max_held = max_held
        self._held: list[tuple[int, Entry]] = []
        self._next = 0

    def push(self, record: Entry) -> None:
        """Take the record of an index that was not pushed before."""
        heapq.heappush(self._held, (record.index, record))
        while self._held and (self._held[0][0] <= self._next or len(self._held) > self._max_held):
            self._pop()

    def finish(self) -> None:
        """Write what is held: nothing more will come."""
        while self._held:
            self._pop()

    def _pop(self) -> None:
        index, record = heapq.heappop(self._held)
        # An index from before the gap that was skipped comes late and does not move the mark back.
        self._next = max(self._next, index + 1)
        self._write(record)
