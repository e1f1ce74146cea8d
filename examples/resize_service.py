"""Fetch pictures, make thumbnails, hash and store them under a TaskGroup: each is one native operation.

usage: python resize_service.py [FOLDER]
"""

import asyncio
import sys
from pathlib import Path

import offloop
from offloop.image import Pipeline
from offloop.testing import Origin

THUMBNAIL = Pipeline().auto_orient().resize(48, 48, fit="inside", without_enlargement=True).to("jpeg", quality=80)


async def thumbnail(client: offloop.Fetcher, url: str, path: Path) -> tuple[str, str]:
    picture = await THUMBNAIL.run(url, fetcher=client, hash=True, save=path, timeout=10)
    return picture.input_sha256, picture.sha256


async def main(folder: Path) -> None:
    async with Origin() as origin, offloop.Fetcher() as client:  # a local server: no network is needed
        urls = {f"{n}.jpg": origin.url(f"/image.png?{n}") for n in range(100)}
        async with asyncio.TaskGroup() as group:  # the first failure cancels the others
            tasks = {name: group.create_task(thumbnail(client, url, folder / name)) for name, url in urls.items()}
    for name, task in tasks.items():
        original, result = task.result()
        print(f"{original}  {urls[name]}\n{result}  {folder / name}")


asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
