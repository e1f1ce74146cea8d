"""What the contenders do with one picture: from JPEG to JPEG of a given width, quality 80, chroma 4:2:0.

Nobody turns it as its EXIF orientation says, or converts its colours.
"""

from __future__ import annotations

import io
import os
from types import ModuleType
from typing import TYPE_CHECKING

import offloop
from offloop.bench.model import Missing

if TYPE_CHECKING:
    from PIL import Image  # else where it is used: contenders are listed without it, too

QUALITY = 80

PLAIN = "Pillow: open, resize (Lanczos), save"
SCALED = "Pillow: open, draft, resize (Lanczos, reducing_gap=1.0), save, which is what thumbnail(reducing_gap=1.0) does"


def height_of(size: tuple[int, int], width: int) -> int:
    """The height that belongs to `width`, halves rounded up."""
    return max(1, (2 * size[1] * width + size[0]) // (2 * size[0]))


def pillow_resize(data: bytes, width: int) -> bytes:
    """What people write first: the whole picture is decoded."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return _saved(picture.resize((width, height_of(picture.size, width)), Image.Resampling.LANCZOS))


def pillow_scaled(data: bytes, width: int) -> bytes:
    """Pillow's fastest: libjpeg decodes a half, a quarter or an eighth of the sides where that is large enough."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        size = (width, height_of(picture.size, width))
        picture.draft(None, size)
        return _saved(picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0))


def _saved(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def pyvips_module() -> ModuleType:
    """pyvips with libvips behind it: one thread a picture, for a thread a core calls it; no cache. Raises Missing."""
    os.environ.setdefault("VIPS_CONCURRENCY", "1")  # read by libvips when it starts
    try:
        import pyvips
    except ImportError:
        raise Missing("pyvips is not installed (pip install 'offloop[bench]')") from None
    except OSError:
        raise Missing("pyvips finds no libvips (Debian: apt-get install libvips42)") from None
    pyvips.cache_set_max(0)
    module: ModuleType = pyvips
    return module


def vips_thumbnail(data: bytes, width: int) -> bytes:
    """libvips at its best: `thumbnail` decodes scaled down, too."""
    import pyvips

    header = pyvips.Image.new_from_buffer(data, "")
    height = height_of((header.width, header.height), width)
    picture = pyvips.Image.thumbnail_buffer(data, width, height=height, size="force", no_rotate=True)
    return bytes(picture.write_to_buffer(".jpg", Q=QUALITY, strip=True))


def offloop_image() -> ModuleType:
    """offloop.image. Raises Missing, with what it lacks."""
    try:
        from offloop import image
    except offloop.UnsupportedFormatError as error:  # it says what to install
        raise Missing(str(error)) from None
    return image


def picture_of(text: str) -> bytes | str:
    """What the native program wrote of a picture: hexadecimal, or an error in words."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text
