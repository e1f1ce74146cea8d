"""Arguments as the core wants them, or a TypeError or ValueError that says what was expected and what came."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from .errors import InvalidURLError

# Of the core: libcurl counts milliseconds in a long.
MOST_SECONDS = 30 * 24 * 3600.0


def as_url(url: object) -> str:
    text = as_text("url", url)
    if not is_encodable(text):
        raise unsendable(text)
    return text


def is_encodable(text: str) -> bool:
    """Whether it has no lone surrogates, as os.fsdecode() makes them of bytes that are no UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unsendable(url: str) -> InvalidURLError:
    words = f"Fetch failed for {url!a}: URL contains a character that cannot be encoded"
    return InvalidURLError(words, url=url)


def as_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def as_texts(name: str, values: object) -> list[str]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of str, not {type(values).__name__}")
    texts = list(values)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be an iterable of str, got {text!r} in it")
    return texts


def as_path(name: str, value: object) -> str:
    if not isinstance(value, (str, bytes, os.PathLike)):
        expected = "a path or a callable" if name == "sink" else "a path"
        raise TypeError(f"{name} must be {expected}, not {type(value).__name__}")
    path = os.fsdecode(value)
    if "\0" in path:
        raise ValueError(f"{name} contains a null character: {path!r}")
    return path


def as_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return value


def as_count(name: str, value: object, least: int, most: float = 2**31 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if least == 1 and value < 1:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be between {least} and {most}, got {value}")
    return value


def as_seconds(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} must be greater than 0 seconds, got {value}")
    if MOST_SECONDS < value < math.inf:
        raise ValueError(f"{name} must be at most {MOST_SECONDS:.0f} seconds, or math.inf for none, got {value}")
    return float(value)
