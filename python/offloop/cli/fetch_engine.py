"""Drives a fetcher over a listing of any length: a bounded window of URLs in flight, each distinct URL fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from offloop.cli.listing import MAX_LINE_BYTES, CutLine
from offloop.cli.record import Hashed, Record, failure, success
from offloop.cli.seen import Seen
from offloop.errors import InvalidURLError

# Entries that repeat a URL in flight wait for its result; this bounds how many.
_MAX_WAITING = 10_000


class HashingFetcher(Protocol):
    """The part of `offloop.fetch.Fetcher` that is used here."""

    def hash(self, url: str, algorithm: str = "sha256") -> Any:
        """Start fetching `url`; the operation resolves to its digest."""


@dataclass(slots=True)
class _InFlight:
    operation: Any
    indices: list[int]


class FetchEngine:
    """Fetches every URL of a listing and hands each entry's record to `emit`. All on the loop thread.

    Args:
        fetcher: limits the transfers by itself.
        emit: called once for each entry, as results come; what it raises ends the run.
        window: operations handed to the fetcher at a time; some more than it runs, so that it never waits for us.
        seen: results of earlier entries.
    """

    def __init__(self, fetcher: HashingFetcher, emit: Callable[[Record], None], window: int, seen: Seen) -> None:
        self._fetcher = fetcher
        self._emit = emit
        self._window = window
        self._seen = seen
        self._in_flight: dict[str, _InFlight] = {}
        self._waiting = 0
        self._change: asyncio.Future[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None
        self.listed = 0

    async def run(self, batches: AsyncIterator[list[str]]) -> None:
        """Fetch all of `batches`. Cancelled, it cancels what is in flight: those entries get no record."""
        self._task = asyncio.current_task()
        try:
            async for batch in batches:
                for url in batch:
                    await self._until(lambda: len(self._in_flight) < self._window and self._waiting < _MAX_WAITING)
                    self._take(self.listed, url)
                    self.listed += 1
            await self._until(lambda: not self._in_flight)
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._cancel_all()

    def _take(self, index: int, url: str) -> None:
        flying = self._in_flight.get(url)
        if flying is not None:
            flying.indices.append(index)
            self._waiting += 1
            return
        known = self._seen.get(url)
        if known is not None:
            self._emit(known.at(index))
            return
        try:
            if isinstance(url, CutLine):
                raise InvalidURLError(f"a URL of at most {MAX_LINE_BYTES} bytes expected, got a longer line")
            operation = self._fetcher.hash(url)
        except Exception as error:  # one bad entry of a listing is a record, whatever is wrong with it
            self._finish(failure(index, url, error), [index])
            return
        self._in_flight[url] = _InFlight(operation, [index])
        operation.add_done_callback(lambda done: self._done(url, done))

    def _done(self, url: str, operation: Any) -> None:
        flying = self._in_flight.pop(url, None)
        if flying is None:
            return  # cancelled by us
        self._waiting -= len(flying.indices) - 1
        index = flying.indices[0]
        try:
            result: Hashed = operation.result()
            record = success(index, url, result)
        except asyncio.CancelledError:
            record = failure(
                index, url, RuntimeError("the operation was cancelled by something else than this program")
            )
        except Exception as error:
            record = failure(index, url, error)
        try:
            self._finish(record, flying.indices)
        except Exception as error:  # raised in a callback it would only be logged: `run` raises it, wherever it waits
            self._error = error
            if self._task is not None:
                self._task.cancel()
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def _finish(self, record: Record, indices: list[int]) -> None:
        self._seen.put(record)
        for index in indices:
            self._emit(record.at(index))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._change = asyncio.get_running_loop().create_future()
            await self._change

    def _cancel_all(self) -> None:
        flying = list(self._in_flight.values())
        self._in_flight.clear()
        for each in flying:
            each.operation.cancel()
