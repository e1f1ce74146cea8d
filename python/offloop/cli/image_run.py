"""Runs ``offloop image resize``: from the options of the command line to files, lines and an exit code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from offloop import image
from offloop.cli import exit_codes, listing
from offloop.cli.fetch_output import Output
from offloop.cli.image_engine import ImageEngine
from offloop.cli.image_names import is_url
from offloop.cli.image_place import Place, unwritable
from offloop.cli.image_record import ImageRecord
from offloop.cli.image_screen import print_table
from offloop.cli.image_sources import sources
from offloop.cli.in_order import InOrder
from offloop.cli.listing_run import ListingRun
from offloop.fetch import Fetcher

# A page of this many of the largest cells is 40 megapixels; more would not be looked at.
SHEET_PICTURES = 1000
_LARGEST_CELL = 192

_OF_PIPELINE = ("max_pixels", "max_bytes", "max_frames", "max_scans", "frames", "fail_on", "engine", "isolate")
_OF_RESIZE = ("fit", "position", "kernel", "without_enlargement")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for; `options` are those given, by the names that `offloop.image` has."""

    sources: tuple[str, ...]
    from_path: str | None
    folder: str
    overwrite: bool
    sums_path: str | None
    sheet_path: str | None
    as_json: bool
    quiet: bool
    max_concurrent: int
    timeout: float
    auto_orient: bool
    resize: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> bool:
        """Whether standard output is a table's."""
        return not self.quiet and not self.as_json and self.sums_path != "-"


def run(plan: Plan) -> int:
    """Make all pictures; return the exit code."""
    try:
        pipeline = _pipeline(plan)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    return asyncio.run(_resize(plan, pipeline))


def _pipeline(plan: Plan) -> image.Pipeline:
    def given(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: plan.options[name] for name in names if name in plan.options}

    pipeline = image.Pipeline(**given(_OF_PIPELINE))
    if plan.auto_orient:
        pipeline = pipeline.auto_orient()
    if any(plan.resize.values()):
        pipeline = pipeline.resize(**plan.resize, **given(_OF_RESIZE))
    of_output = tuple(name for name in plan.options if name not in (*_OF_PIPELINE, *_OF_RESIZE))
    return pipeline.to(**given(of_output))


async def _resize(plan: Plan, pipeline: image.Pipeline) -> int:
    _refuse_taken_sheet(plan)
    given = listing.from_arguments(plan.sources) if plan.from_path is None else listing.FileListing(plan.from_path)
    output: Output[ImageRecord] = Output(as_json=plan.as_json, sums_path=plan.sums_path)
    place = Place(plan.folder, overwrite=plan.overwrite)
    shown = ListingRun(output, plan.quiet, plan.table, print_table)
    try:
        interrupted = await shown.run(_work(plan, pipeline, aiter(given), place, shown))
    finally:
        await place.close()
    return interrupted or (exit_codes.SOME_FAILED if output.tally.failed else exit_codes.ALL_OK)


async def _work(
    plan: Plan, pipeline: image.Pipeline, listed: Any, place: Place, shown: ListingRun[ImageRecord]
) -> None:
    sheet: list[str] = []
    cell = 1

    def write(record: ImageRecord) -> None:
        nonlocal cell
        picture = record.picture
        if plan.sheet_path is not None and picture is not None and record.output and len(sheet) < SHEET_PICTURES:
            sheet.append(record.output)
            cell = min(max(cell, picture.width, picture.height), _LARGEST_CELL)
        shown.output.write(record)

    ordered: InOrder[ImageRecord] = InOrder(write)
    # Loaded with the first URL: without one there is no need for libcurl.
    fetchers: list[Fetcher] = []
    total = len(plan.sources) if plan.from_path is None and not any(map(os.path.isdir, plan.sources)) else None
    engine = ImageEngine(
        _starter(plan, pipeline, fetchers), place, ordered.push, plan.max_concurrent, plan.options.get("format")
    )
    try:
        with shown.bar(total):
            await engine.run(sources(listed, place.is_ours))
    finally:
        ordered.finish()
        for fetcher in fetchers:
            fetcher.close()
    if plan.sheet_path is not None and sheet:
        await _make_sheet(plan.sheet_path, sheet, cell)


def _starter(plan: Plan, pipeline: image.Pipeline, fetchers: list[Fetcher]) -> Callable[[str, str], Any]:
    hashed = plan.sums_path is not None

    def start(source: str, path: str) -> Any:
        if is_url(source) and not fetchers:
            fetchers.append(Fetcher(max_concurrent=plan.max_concurrent))
        fetcher = fetchers[0] if is_url(source) else None
        return pipeline.run(source, hash=hashed, save=path, timeout=plan.timeout, fetcher=fetcher)

    return start


def _refuse_taken_sheet(plan: Plan) -> None:
    path = plan.sheet_path
    if path is not None and not plan.overwrite and os.path.lexists(path):
        raise unwritable(FileExistsError(17, "the sheet's file exists, and --overwrite was not given"), path)


async def _make_sheet(path: str, pictures: list[str], cell: int) -> None:
    try:
        await image.sheet(pictures, cell=cell, save=path)
    except OSError as error:
        raise unwritable(error, str(error.filename or path)) from error
