"""One picture of a listing and what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from offloop.errors import OffloopError
from offloop.image import ImageInfo, Picture


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The result for one picture: `output` and `picture` are set when it succeeded, `error` when not.

    Attributes:
        index: its place among all pictures, from 0.
        source: path or URL.
        output: the path of the result.
        picture: what the core says of it; its data is in the file.
        elapsed: seconds, waiting for its turn included.
        failure: the error.
    """

    index: int
    source: str
    elapsed: float
    output: str | None = None
    picture: Picture | None = None
    failure: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the result is there."""
        return self.failure is None

    @property
    def size(self) -> int | None:
        """Bytes of the input."""
        return None if self.picture is None else self.picture.input_size

    @property
    def error(self) -> str | None:
        """The name of the error's class."""
        return None if self.failure is None else type(self.failure).__name__

    @property
    def message(self) -> str:
        """What went wrong, in words."""
        return "" if self.failure is None else words_of(self.failure)

    def sums(self) -> list[tuple[str, str]]:
        """Return the digests of input and output with their names, where they were asked for."""
        picture = self.picture
        if picture is None or self.output is None or picture.sha256 is None or picture.input_sha256 is None:
            return []
        return [(picture.input_sha256, self.source), (picture.sha256, self.output)]

    def to_json(self) -> bytes:
        """One line of JSON; what does not apply is left out."""
        fields: dict[str, Any] = {"index": self.index, "source": self.source, "ok": self.ok}
        if self.picture is not None:
            picture = self.picture
            fields |= {
                "output": self.output,
                "format": picture.format,
                "width": picture.width,
                "height": picture.height,
                "frames": picture.frames,
                "size": picture.size,
                "sha256": picture.sha256,
                "input": {**info_fields(picture.input), "size": picture.input_size, "sha256": picture.input_sha256},
            }
        fields["elapsed"] = round(self.elapsed, 6)
        if self.failure is not None:
            fields |= failure_fields(self.failure)
        return _line(fields)


def failure_fields(error: Exception) -> dict[str, Any]:
    """Return what a line of JSON says of an error."""
    code = error.code if isinstance(error, OffloopError) else "Io" if isinstance(error, OSError) else "InvalidArgument"
    retryable = isinstance(error, OffloopError) and error.retryable
    return {"error": type(error).__name__, "code": code, "message": words_of(error), "retryable": retryable}


def info_fields(info: ImageInfo) -> dict[str, Any]:
    """Return what a line of JSON says of a picture's header."""
    return {name: getattr(info, name) for name in _INFO_FIELDS}


def info_line(source: str, info: ImageInfo) -> bytes:
    """One line of JSON about a picture's header."""
    return _line({"source": source, "ok": True, **info_fields(info)})


def failed_info_line(source: str, error: Exception) -> bytes:
    """One line of JSON about a picture that could not be read."""
    return _line({"source": source, "ok": False, **failure_fields(error)})


def words_of(error: Exception) -> str:
    """Return an error's words without the path, which stands beside them."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, OffloopError):
        return error.strerror
    return str(error) or type(error).__name__


def _line(fields: dict[str, Any]) -> bytes:
    def without_none(value: dict[str, Any]) -> dict[str, Any]:
        return {
            name: without_none(each) if isinstance(each, dict) else each
            for name, each in value.items()
            if each is not None
        }

    return json.dumps(without_none(fields)).encode() + b"\n"


_INFO_FIELDS = (
    "format",
    "width",
    "height",
    "upright_width",
    "upright_height",
    "orientation",
    "channels",
    "bits",
    "color_space",
    "has_alpha",
    "has_profile",
    "progressive",
    "frames",
)
