"""Fetch pictures, make thumbnails, hash and store them under a TaskGroup: with aiohttp, Pillow and hashlib.

usage: python resize_service_before.py [FOLDER]
"""

import asyncio
import hashlib
import io
import sys
from pathlib import Path

import aiohttp
from PIL import Image, ImageOps

from offloop.testing import Origin


def resized(body: bytes) -> bytes:
    with Image.open(io.BytesIO(body)) as opened:
        picture = ImageOps.exif_transpose(opened)
        picture.thumbnail((48, 48), Image.Resampling.LANCZOS)
        result = io.BytesIO()
        picture.convert("RGB").save(result, "JPEG", quality=80)
        return result.getvalue()


async def thumbnail(client: aiohttp.ClientSession, url: str, path: Path) -> tuple[str, str]:
    async with client.get(url, timeout=aiohttp.ClientTimeout(10)) as response:
        response.raise_for_status()
        body = await response.read()
    data = await asyncio.to_thread(resized, body)
    part = path.with_name(path.name + ".part")
    await asyncio.to_thread(part.write_bytes, data)
    part.rename(path)
    return hashlib.sha256(body).hexdigest(), hashlib.sha256(data).hexdigest()


async def main(folder: Path) -> None:
    async with Origin() as origin, aiohttp.ClientSession() as client:  # a local server: no network is needed
        urls = {f"{n}.jpg": origin.url(f"/image.png?{n}") for n in range(100)}
        async with asyncio.TaskGroup() as group:  # the first failure cancels the others
            tasks = {name: group.create_task(thumbnail(client, url, folder / name)) for name, url in urls.items()}
    for name, task in tasks.items():
        original, result = task.result()
        print(f"{original}  {urls[name]}\n{result}  {folder / name}")


asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
