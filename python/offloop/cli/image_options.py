"""Values of options about pictures: boxes and colours."""

from __future__ import annotations

import re

import click

_BOX = re.compile(r"(\d{1,7})(?:[xX](\d{1,7}))?")
_HEX = re.compile(r"#?([0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)")


class BoxSize(click.ParamType[tuple[int, int]]):
    """A box: 256 (a square) or 640x480."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return width and height."""
        match = _BOX.fullmatch(str(value).strip())
        width = int(match[1]) if match is not None else 0
        height = int(match[2] or match[1]) if match is not None else 0
        if width < 1 or height < 1:
            self.fail(f"expected pixels above 0, such as 256 or 640x480, got {value!r}", param, ctx)
        return width, height


class Color(click.ParamType[tuple[int, ...]]):
    """A colour: #ffffff, #00000000 with alpha, or 255,255,255."""

    name = "color"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return red, green, blue, and alpha where it was given; 0 to 255."""
        words = str(value).strip()
        if match := _HEX.fullmatch(words):
            return tuple(bytes.fromhex(match[1]))
        parts = [part.strip() for part in words.split(",")]
        if len(parts) not in (3, 4) or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
            self.fail(f"expected a colour such as #ffcc00 or 255,204,0, got {value!r}", param, ctx)
        return tuple(map(int, parts))
