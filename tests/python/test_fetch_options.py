"""Options and arguments of a Fetcher: the wrong ones are named, and nothing is sent."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fetch_helpers import quiet

from offloop.fetch import Fetcher
from offloop.testing import Origin


@pytest.fixture
def origin(origin: Origin) -> Origin:
    return quiet(origin)


WRONG_OPTIONS: list[tuple[str, Any, type[Exception], str]] = [
    ("io_threads", 0, ValueError, "must be greater than 0, got 0"),
    ("io_threads", 65, ValueError, "must be between 1 and 64, got 65"),
    ("io_threads", 1.0, TypeError, "must be an int, not float"),
    ("max_concurrent", 0, ValueError, "must be greater than 0, got 0"),
    ("max_concurrent", -1, ValueError, "must be greater than 0, got -1"),
    ("max_concurrent", 65537, ValueError, "must be between 1 and 65536, got 65537"),
    ("max_concurrent", True, TypeError, "must be an int, not bool"),
    ("per_host", -1, ValueError, "got -1"),
    ("per_host", 1 << 80, ValueError, "must be between"),
    ("connect_timeout", 0, ValueError, "must be greater than 0 seconds, got 0"),
    ("timeout", -1.5, ValueError, "must be greater than 0 seconds, got -1.5"),
    ("timeout", math.nan, ValueError, "must be greater than 0 seconds, got nan"),
    ("timeout", 1e300, ValueError, "must be at most 2592000 seconds"),
    ("timeout", "5", TypeError, "must be a number of seconds, not str"),
    ("timeout", None, TypeError, "must be a number of seconds, not NoneType"),
    ("low_speed_bytes", -1, ValueError, "got -1"),
    ("low_speed_time", 1 << 40, ValueError, "got 1099511627776"),
    ("max_redirects", 101, ValueError, "must be between 0 and 100, got 101"),
    ("max_body", -1, ValueError, "got -1"),
    ("max_body", 1 << 63, ValueError, "got 9223372036854775808"),
    ("fail_on_status", 1, TypeError, "must be a bool, not int"),
    ("verify_tls", "no", TypeError, "must be a bool, not str"),
    ("decompress", None, TypeError, "must be a bool, not NoneType"),
    ("http2", 0, TypeError, "must be a bool, not int"),
    ("env_proxy", "", TypeError, "must be a bool, not str"),
    ("ca_file", 5, TypeError, "must be a path, not int"),
    ("ca_file", "a\0b", ValueError, "contains a null character"),
    ("user_agent", 5, TypeError, "must be a str, not int"),
    ("user_agent", "a\r\nb", ValueError, "must be one line"),
    ("headers", 5, TypeError, "must be a mapping or pairs of str, not int"),
    ("headers", "ab", TypeError, "must be a mapping or pairs of str, got 'a'"),
    ("headers", [("a", 5)], TypeError, "must be a mapping or pairs of str, got"),
    ("addresses", "some", ValueError, "must be 'allow_all' or 'public_only', got 'some'"),
    ("allow_cidrs", "10.0.0.0/8", TypeError, "must be an iterable of str, not str"),
    ("allow_cidrs", ["10.0.0.0/99"], ValueError, "got '10.0.0.0/99'"),
    ("deny_cidrs", [5], TypeError, "must be an iterable of str, got 5 in it"),
    ("deny_cidrs", ["nope"], ValueError, "got 'nope'"),
    ("resolve", 5, TypeError, "must be an iterable of str, not int"),
    ("resolve", ["host"], ValueError, "got 'host'"),
]


@pytest.mark.parametrize(("name", "value", "kind", "words"), WRONG_OPTIONS)
def test_a_wrong_option_is_named(name: str, value: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{name}.*{re.escape(words)}"):
        Fetcher(**{name: value})


def test_an_unknown_option_is_a_type_error_with_its_name() -> None:
    with pytest.raises(TypeError, match="max_conns"):
        Fetcher(max_conns=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Fetcher(5)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "header name is not valid: 'a b'"),
        ("", "header name is not valid: ''"),
        ("Content-Length", "header Content-Length is set by the fetcher itself"),
    ],
)
def test_a_header_that_cannot_be_sent_is_a_value_error(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fetcher(headers={name: "x"})


def test_a_header_cannot_smuggle_another_one() -> None:
    for value in ("a\r\nEvil: 1", "a\nEvil: 1", "a\0"):
        with pytest.raises(ValueError, match="value of header X contains a control character"):
            Fetcher(headers=[("X", value)])


def test_a_missing_ca_file_is_a_file_not_found_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Fetcher(ca_file=tmp_path / "none.pem")
    assert caught.value.filename == str(tmp_path / "none.pem")


WRONG_REQUESTS: list[tuple[str, Any, type[Exception], str]] = [
    ("timeout", 0, ValueError, "timeout must be greater than 0 seconds, got 0"),
    ("timeout", "1", TypeError, "timeout must be a number of seconds, not str"),
    ("timeout", True, TypeError, "timeout must be a number of seconds, not bool"),
    ("timeout", 1e18, ValueError, "timeout must be at most 2592000 seconds"),
    ("max_body", -1, ValueError, "max_body must be between"),
    ("max_body", 1.5, TypeError, "max_body must be an int, not float"),
    ("headers", {"X": "a\r\nb"}, ValueError, "value of header X contains a control character"),
    ("headers", [1], TypeError, "headers must be a mapping or pairs of str, got 1"),
]


@pytest.mark.parametrize(("name", "value", "kind", "words"), WRONG_REQUESTS)
@pytest.mark.loops("asyncio")
async def test_a_wrong_argument_of_a_request_is_named_and_nothing_is_sent(
    origin: Origin, name: str, value: Any, kind: type[Exception], words: str
) -> None:
    async with Fetcher() as fetcher:
        calls: list[Callable[..., Any]] = [fetcher.get, fetcher.hash, lambda url, **k: fetcher.stream(url, print, **k)]
        for call in calls:
            with pytest.raises(kind, match=re.escape(words)):
                await call(origin.url("/"), **{name: value})
        assert fetcher.stats()["running"] == fetcher.stats()["failed"] == 0
    assert (await asyncio.to_thread(origin.stats)).requests == 0
