"""Fetching, in C++: for offloop.fetch."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from ._core import Operation

class AddressMode(Enum):
    allow_all = 0
    public_only = 1

class FetcherOptions:
    io_threads: int
    max_concurrent: int
    per_host: int
    connect_timeout: float
    timeout: float
    low_speed_bytes: int
    low_speed_time: int
    max_redirects: int
    max_body: int
    fail_on_status: bool
    verify_tls: bool
    ca_file: str
    decompress: bool
    http2: bool
    user_agent: str
    headers: list[tuple[str, str]]
    env_proxy: bool
    addresses: AddressMode
    allow_cidrs: list[str]
    deny_cidrs: list[str]
    resolve: list[str]
    def __init__(self) -> None: ...

class ResponseInfo:
    @property
    def status(self) -> int: ...
    @property
    def final_url(self) -> str: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def redirects(self) -> int: ...
    @property
    def peer_ip(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def reused_connection(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def timings(self) -> dict[str, float]: ...
    @property
    def elapsed(self) -> float: ...
    def header(self, name: str, default: Any = None) -> Any: ...

class Body: ...
class Chunk: ...

class Response(ResponseInfo):
    @property
    def body(self) -> memoryview: ...
    def read(self) -> bytes: ...
    def text(self, encoding: str = "utf-8", errors: str = "strict") -> str: ...

class HashedResponse(ResponseInfo):
    @property
    def digest(self) -> bytes: ...
    @property
    def hexdigest(self) -> str: ...

class Fetcher:
    def __init__(self, options: FetcherOptions) -> None: ...
    def get(
        self,
        url: str,
        headers: list[tuple[str, str]],
        timeout: float | None,
        max_body: int | None,
        bytes_only: bool,
    ) -> Operation[Any]: ...
    def hash(
        self, url: str, algorithm: str, headers: list[tuple[str, str]], timeout: float | None, max_body: int | None
    ) -> Operation[HashedResponse]: ...
    def stream(
        self,
        url: str,
        sink: bytes | Callable[[memoryview], object],
        headers: list[tuple[str, str]],
        timeout: float | None,
        max_body: int | None,
    ) -> Operation[ResponseInfo]: ...
    def hash_urls(
        self, urls: list[str], max_concurrent: int, timeout: float, stop_on_error: bool
    ) -> Operation[list[str | Exception | None]]: ...
    def stats(self) -> dict[str, int]: ...
    def handle(self) -> object: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...

def check_url(url: str) -> None: ...
def close_all() -> None: ...
