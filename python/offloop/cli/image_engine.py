"""Drives one pipeline over pictures without end: a bounded number in flight, a record for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from offloop.cli.image_names import Names, extension_of, stem_of
from offloop.cli.image_place import Place
from offloop.cli.image_record import ImageRecord
from offloop.cli.image_sources import Source
from offloop.errors import OffloopError
from offloop.image import Picture


class ImageEngine:
    """Makes the result of every source and hands its record to `emit`. All on the loop thread.

    Args:
        start: starts the operation for a source, whose result goes to a path.
        place: where results go.
        emit: called once for each source, as results come; what it raises ends the run.
        window: pictures in flight at a time.
        format_name: of all results, where that is known beforehand.
    """

    def __init__(
        self,
        start: Callable[[str, str], asyncio.Future[Picture]],
        place: Place,
        emit: Callable[[ImageRecord], None],
        window: int,
        format_name: str | None,
    ) -> None:
        self._start = start
        self._place = place
        self._emit = emit
        self._slots = asyncio.Semaphore(window)
        self._format = format_name
        self._names = Names()

    async def run(self, sources: AsyncIterator[Source]) -> None:
        """Work through all of `sources`. Cancelled, it cancels what is in flight: those get no record."""
        try:
            async with asyncio.TaskGroup() as group:
                async for source in sources:
                    # Here and not when it is done, so that names depend on nothing but the listing.
                    name = self._names.claim(stem_of(source.name))
                    await self._slots.acquire()
                    group.create_task(self._one(source, name))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None  # a failed picture is a record: this is the end of the run
        finally:
            self._names.close()

    async def _one(self, source: Source, stem: str) -> None:
        started = time.monotonic()
        output = picture = failure = None
        try:
            output, picture = await self._make(source, stem)
        except (OffloopError, OSError, ValueError, TypeError, MemoryError) as error:
            self._place.raise_if_ours(error)
            failure = error
        finally:
            self._slots.release()
        self._emit(ImageRecord(source.index, source.name, time.monotonic() - started, output, picture, failure))

    async def _make(self, source: Source, stem: str) -> tuple[str, Picture]:
        if source.error is not None:
            raise source.error
        if self._format is not None:
            self._place.refuse_taken(f"{stem}.{extension_of(self._format)}")  # before the work rather than after
        picture = await self._start(source.name, self._place.path_while_made(source.index))
        return self._place.keep(source.index, f"{stem}.{extension_of(picture.format)}"), picture
