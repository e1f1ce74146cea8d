"""offloop takes the heavy work off the event loop: asyncio in front, a C++ core behind.

Importing this package starts no thread and loads neither libcurl nor any image library.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

try:
    from ._core import Operation
except ImportError as error:
    from ._wheel import explain

    explain(error)
    raise
from ._runtime import build_info, configure, stats
from .errors import (
    BlockedAddressError,
    BodyTooLargeError,
    ConnectError,
    ContentDecodingError,
    DecoderCrashError,
    DNSError,
    FetchError,
    FetchTimeoutError,
    HashMismatchError,
    HTTPStatusError,
    ImageError,
    ImageLimitError,
    IncompleteBodyError,
    InvalidURLError,
    OffloopError,
    OperationTimeoutError,
    PoolClosedError,
    PoolSaturatedError,
    TLSError,
    TooManyRedirectsError,
    UnsupportedFormatError,
)
from .hashing import batch_hash, compute_sha256, sha256, sha256_many

if TYPE_CHECKING:
    from . import fetch, hashing, image
    from ._trace import trace
    from ._version import __version__
    from .fetch import Fetcher, fetch_and_hash_urls, fetch_url

__all__ = [
    "BlockedAddressError",
    "BodyTooLargeError",
    "ConnectError",
    "ContentDecodingError",
    "DNSError",
    "DecoderCrashError",
    "FetchError",
    "FetchTimeoutError",
    "Fetcher",
    "HTTPStatusError",
    "HashMismatchError",
    "ImageError",
    "ImageLimitError",
    "IncompleteBodyError",
    "InvalidURLError",
    "OffloopError",
    "Operation",
    "OperationTimeoutError",
    "PoolClosedError",
    "PoolSaturatedError",
    "TLSError",
    "TooManyRedirectsError",
    "UnsupportedFormatError",
    "__version__",
    "batch_hash",
    "build_info",
    "compute_sha256",
    "configure",
    "fetch",
    "fetch_and_hash_urls",
    "fetch_url",
    "hashing",
    "image",
    "sha256",
    "sha256_many",
    "stats",
    "trace",
]

# Loaded on first use: libcurl brings some thirty libraries along, the package's metadata take as long as all the rest.
_LAZY = {
    "fetch": (".fetch", None),
    "image": (".image", None),
    "trace": ("._trace", "trace"),
    "Fetcher": (".fetch", "Fetcher"),
    "fetch_url": (".fetch", "fetch_url"),
    "fetch_and_hash_urls": (".fetch", "fetch_and_hash_urls"),
    "__version__": ("._version", "__version__"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'offloop' has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = importlib.import_module(module_name, __name__)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


if "OFFLOOP_PROFILE" in os.environ:  # by `offloop profile`: this process is watched
    importlib.import_module("offloop.profiling.child").start()
