"""Every exception offloop raises on purpose, and what to do about each.

All of them derive from `OffloopError`; the ones that stand for something Python has a class for derive from that one
as well, so that ``except TimeoutError`` and ``except ValueError`` keep working. Bad arguments are `ValueError` and
`TypeError`, raised before anything is queued; cancellation is `asyncio.CancelledError`, never one of these.

This module imports nothing of offloop, so that it can be used where the native part is broken.
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = [
    "BlockedAddressError",
    "BodyTooLargeError",
    "ConnectError",
    "ContentDecodingError",
    "DNSError",
    "DecoderCrashError",
    "FetchError",
    "FetchTimeoutError",
    "HTTPStatusError",
    "HashMismatchError",
    "ImageError",
    "ImageLimitError",
    "IncompleteBodyError",
    "InvalidURLError",
    "JobError",
    "JournalError",
    "OffloopError",
    "OpError",
    "OperationTimeoutError",
    "PoolClosedError",
    "PoolSaturatedError",
    "SinkError",
    "TLSError",
    "TooManyRedirectsError",
    "UnsupportedFormatError",
]

# The statuses that say "later" rather than "no" (RFC 9110, RFC 6585, and what large proxies send).
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 522, 524})

_ATTRIBUTES = ("retryable", "url", "path", "phase", "status", "errno", "code")


class OffloopError(Exception):
    """Raised when offloop could not do what it was asked; the base of every class below.

    Catch it to handle whatever offloop reports. Raised as itself it means that an invariant of offloop does not hold
    (`code` is ``"Internal"``): report it with the output of ``offloop doctor``.

    Attributes:
        retryable: True when the same call may succeed a moment later without any change.
        url: the URL it was about, as the caller gave it, or None.
        path: the file it was about, or None.
        phase: the step that failed ("resolve", "connect", "tls", "headers", "body", "decode", ...), or None.
        status: the HTTP status, where an answer came at all, or None.
        errno: the system's error number, or None.
        code: the stable name of the kind of failure ("FetchTimeout", "Dns", ...): for logs and machines.
    """

    default_code = "Internal"
    default_retryable = False

    retryable: bool
    url: str | None
    path: str | None
    phase: str | None
    status: int | None
    errno: int | None
    code: str

    def __init__(
        self,
        message: str = "",
        *,
        url: str | None = None,
        path: str | None = None,
        phase: str | None = None,
        retryable: bool | None = None,
        status: int | None = None,
        errno: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.path = path
        self.phase = phase
        self.status = status
        self.errno = errno
        self.code = self.default_code if code is None else code
        self.retryable = self._retryable_by_default() if retryable is None else retryable

    def _retryable_by_default(self) -> bool:
        return self.default_retryable

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the attributes and the cause as well, which BaseException leaves out."""
        state = {**self.__dict__, **{name: getattr(self, name) for name in _ATTRIBUTES}}
        cause = self.__cause__
        if cause is not None and not _survives_pickling(cause):
            note = f"caused by {type(cause).__name__}: {cause} (this cause could not be pickled)"
            state["__notes__"] = [*state.get("__notes__", ()), note]
            cause = None
        return _rebuild, (type(self), self.args, state, cause)


def _survives_pickling(cause: BaseException) -> bool:
    try:
        # Exceptions with a constructor of their own often pickle well and fail to load: only the round trip tells.
        pickle.loads(pickle.dumps(cause))
    except Exception:  # whatever a foreign __reduce__ or constructor raises means the same: it does not travel
        return False
    return True


def _rebuild(
    cls: type[OffloopError], args: tuple[Any, ...], state: dict[str, Any], cause: BaseException | None
) -> OffloopError:
    # Past __init__, so that a subclass with a constructor of its own is rebuilt as well.
    error = cls.__new__(cls, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    if cause is not None:
        error.__cause__ = cause
    return error


# --- fetching -------------------------------------------------------------------------------------------------------


class FetchError(OffloopError):
    """Raised when a transfer failed in a way that has no class of its own.

    Read the message: it carries the transport's own words. Retry only when `retryable` says so.
    """

    default_code = "Fetch"


class FetchTimeoutError(FetchError, TimeoutError):
    """Raised when a connect, total or low-speed limit of a transfer passed; `phase` says which step was running.

    Retry, or give a larger ``timeout=``. Also a `TimeoutError`.
    """

    default_code = "FetchTimeout"
    default_retryable = True


class HTTPStatusError(FetchError):
    """Raised when the server answered with a status of 400 or above; `status` is that number.

    Retry on the statuses for which `retryable` is True (408, 425, 429, 500, 502, 503, 504, 522, 524), on no others.
    """

    default_code = "HttpStatus"

    status: int

    def _retryable_by_default(self) -> bool:
        return self.status in _RETRYABLE_STATUSES


class InvalidURLError(FetchError, ValueError):
    """Raised when what was given is no URL of ours: syntax, scheme (http and https only), host or port.

    Fix the URL; nothing was sent. Also a `ValueError`.
    """

    default_code = "InvalidUrl"


class DNSError(FetchError):
    """Raised when the host name could not be resolved.

    Check the name and the resolver. `retryable` is True when the resolver itself failed for the moment.
    """

    default_code = "Dns"


class ConnectError(FetchError):
    """Raised when the connection was refused, unreachable, or reset before an answer came.

    Retry with a pause; if it persists, nothing listens at that host and port.
    """

    default_code = "Connect"
    default_retryable = True


class TLSError(FetchError):
    """Raised when the TLS handshake failed or the certificate could not be verified.

    Give the right ``ca_file=``, or repair the server's certificate; retrying does not help.
    """

    default_code = "Tls"


class TooManyRedirectsError(FetchError):
    """Raised when an answer redirected more than ``max_redirects`` times, or to a scheme that is not http or https.

    Raise the limit only if the chain is known to end; a loop does not.
    """

    default_code = "TooManyRedirects"


class IncompleteBodyError(FetchError):
    """Raised when the connection ended within the head, before the announced length, or before the last chunk.

    What came is discarded. Retry: it is usually a restart or an overload at the other end.
    """

    default_code = "IncompleteBody"
    default_retryable = True


class ContentDecodingError(FetchError):
    """Raised when a compressed body is broken, cut short or followed by other bytes, or its coding is not known.

    Fetch with ``decompress=False`` to see the bytes as sent.
    """

    default_code = "ContentDecoding"


class BodyTooLargeError(FetchError):
    """Raised when more than ``max_body`` bytes arrived, counted after decompression.

    Raise ``max_body`` if the resource really is that large; what came is discarded.
    """

    default_code = "BodyTooLarge"


class BlockedAddressError(FetchError):
    """Raised when the address policy forbids the peer that a name resolved to (loopback, private, link-local, ...).

    Allow the network explicitly if it is meant to be reached; nothing was sent.
    """

    default_code = "BlockedAddress"


# --- hashing --------------------------------------------------------------------------------------------------------


class HashMismatchError(OffloopError):
    """Raised when a digest is not the expected one; the message holds both.

    Do not use the data. Fetch it again from a source you trust; offloop never retries this by itself.
    """

    default_code = "HashMismatch"


# --- images ---------------------------------------------------------------------------------------------------------


class ImageError(OffloopError):
    """Raised when a picture could not be read or written.

    The message names the stage (header, decode, resize, encode); the input is usually damaged.
    """

    default_code = "Image"


class ImageLimitError(ImageError):
    """Raised when a picture exceeds a limit (pixels, bytes, frames, scans), judged from its header before decoding.

    Raise the limit only for pictures from a source you trust.
    """

    default_code = "ImageLimit"


class UnsupportedFormatError(ImageError):
    """Raised when the bytes are no picture format of the allow-list.

    Convert the picture first, or install the extra that adds the format.
    """

    default_code = "UnsupportedFormat"


class DecoderCrashError(ImageError):
    """Raised when the isolated decoder process died or was killed while it read this picture.

    Treat the picture as hostile or damaged: the process that asked is unharmed; do not retry without isolation.
    """

    default_code = "DecoderCrash"


# --- operations and the pool ----------------------------------------------------------------------------------------


class OperationTimeoutError(OffloopError, TimeoutError):
    """Raised when an operation's own deadline passed before it was done. Also a `TimeoutError`.

    Give it more time, or less work at once: `offloop.stats()` shows how long operations queue.
    """

    default_code = "Timeout"
    default_retryable = True


class PoolSaturatedError(OffloopError):
    """Raised when ``max_pending`` operations are in flight and ``when_full="raise"`` was configured.

    Shed the load (answer 503), or retry after operations have finished; nothing was queued.
    """

    default_code = "PoolSaturated"
    default_retryable = True


class PoolClosedError(OffloopError):
    """Raised when the runtime was shut down, as at interpreter exit; no operation is accepted any more.

    Start work before shutdown; there is no way to reopen the pool.
    """

    default_code = "PoolClosed"


class OpError(OffloopError):
    """Raised when a user's own native operation reported a failure; the message is that operation's.

    Look in the operation's documentation; offloop only passes it on.
    """

    default_code = "Op"


# --- jobs -----------------------------------------------------------------------------------------------------------


class JobError(OffloopError):
    """Raised when a job as a whole cannot go on; failures of single records are results, not exceptions.

    Start the job again once the cause is gone: what was committed is kept.
    """

    default_code = "Job"


class JournalError(JobError):
    """Raised when a job's journal cannot be read, written or locked.

    See that no other process runs the same job, and that the disk has room; never delete the journal to go on.
    """

    default_code = "Journal"


class SinkError(JobError):
    """Raised when a job's results cannot be written; `path` says where.

    Make room or repair the disk, then start the job again: a failed sync is never believed and its records run again.
    """

    default_code = "Sink"
