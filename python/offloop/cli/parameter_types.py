"""Values of options that are more than a number: sizes, shares, headers."""

from __future__ import annotations

import math
import re

import click

_UNITS = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "ki": 1024,
    "mi": 1024**2,
    "gi": 1024**3,
}
_SIZE = re.compile(r"(\d+)\s*([kmg]i?)?b?", re.IGNORECASE)


class ByteSize(click.ParamType[int]):
    """A number of bytes: 1000000, 10MB, 1GiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"expected a size such as 1000000, 10MB or 1GiB, got {value!r}", param, ctx)
        return int(match[1]) * _UNITS[(match[2] or "").lower()]


class Share(click.ParamType[float]):
    """A share of the whole: 0.95 or 95%."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a number from 0 to 1."""
        words = str(value).strip()
        try:
            share = float(words[:-1]) / 100 if words.endswith("%") else float(words)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            self.fail(f"expected a share from 0 to 1, or from 0% to 100%, got {value!r}", param, ctx)
        return share


class Seconds(click.ParamType[float]):
    """A duration above 0; "inf" is none at all."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            self.fail(f"expected a number of seconds greater than 0, got {value!r}", param, ctx)
        return seconds


class Header(click.ParamType[tuple[str, str]]):
    """A request header: "Name: value"."""

    name = "name: value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return name and value."""
        name, colon, content = str(value).partition(":")
        if not colon or not name.strip():
            self.fail(f"expected NAME: VALUE, got {value!r}", param, ctx)
        return name.strip(), content.strip()
