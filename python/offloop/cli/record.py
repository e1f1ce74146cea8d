"""One URL of a listing and what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Protocol

from offloop.errors import InvalidURLError, OffloopError


class Hashed(Protocol):
    """What `Fetcher.hash` resolves to."""

    @property
    def hexdigest(self) -> str:
        """The digest in hexadecimal."""

    @property
    def size(self) -> int:
        """Bytes of the decoded body."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def final_url(self) -> str:
        """After redirects."""

    @property
    def elapsed(self) -> float:
        """Seconds."""


@dataclass(frozen=True, slots=True)
class Record:
    """The result for one entry of the listing: `sha256` is set when it succeeded, `error` and its kin when not.

    Attributes:
        index: the entry's place in the listing, from 0.
        url: as listed.
        sha256: of the decoded body, in hexadecimal.
        size: bytes of the decoded body.
        status: HTTP status, where an answer came.
        final_url: after redirects.
        elapsed: seconds.
        error: the name of the error's class.
        code: the stable name of the kind of failure.
        message: for people.
        retryable: the same URL may succeed later.
    """

    index: int
    url: str
    sha256: str | None = None
    size: int | None = None
    status: int | None = None
    final_url: str | None = None
    elapsed: float | None = None
    error: str | None = None
    code: str | None = None
    message: str | None = None
    retryable: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether the URL was fetched and hashed."""
        return self.error is None

    def at(self, index: int) -> Record:
        """The same result for another entry with the same URL."""
        return self if index == self.index else replace(self, index=index)

    def sums(self) -> list[tuple[str, str]]:
        """The digest and the name it belongs to, where there is one."""
        return [] if self.sha256 is None else [(self.sha256, self.url)]

    def to_json(self) -> bytes:
        """One line of JSON; what does not apply is left out."""
        fields: dict[str, object] = {"index": self.index, "url": self.url, "ok": self.ok}
        for name in _OPTIONAL_FIELDS:
            value = getattr(self, name)
            if value is not None:
                fields[name] = round(value, 6) if name == "elapsed" else value
        return json.dumps(fields).encode() + b"\n"


_OPTIONAL_FIELDS = (
    "sha256",
    "size",
    "status",
    "final_url",
    "elapsed",
    "error",
    "code",
    "message",
    "retryable",
)


def success(index: int, url: str, result: Hashed) -> Record:
    """Make the record of a URL that was fetched and hashed."""
    return Record(
        index,
        url,
        sha256=result.hexdigest,
        size=result.size,
        status=result.status,
        final_url=result.final_url,
        elapsed=result.elapsed,
    )


def failure(index: int, url: str, error: Exception) -> Record:
    """Make the record of a URL that failed with `error`."""
    if isinstance(error, (ValueError, TypeError)) and not isinstance(error, OffloopError):
        # The argument checks speak of values; in a listing the value is one URL among many.
        error = InvalidURLError(str(error), url=url)
    if isinstance(error, OffloopError):
        return Record(
            index,
            url,
            status=error.status,
            error=type(error).__name__,
            code=error.code,
            message=str(error),
            retryable=error.retryable,
        )
    return Record(
        index, url, error=type(error).__name__, code="Internal", message=str(error) or repr(error), retryable=False
    )
