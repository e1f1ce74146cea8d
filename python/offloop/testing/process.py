"""`Origin`: the embedded origin in a process of its own, as a context manager."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from offloop.testing.certificate import make_certificate

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0

# Runs origin.py with a package `offloop` that has the same folder but not its __init__: the origin must also start
# where the native modules do not load.
_BOOT = """
import runpy, sys, types
offloop = types.ModuleType("offloop")
offloop.__path__ = [sys.argv.pop(1)]
sys.modules["offloop"] = offloop
testing = types.ModuleType("offloop.testing")
testing.__path__ = [offloop.__path__[0] + "/testing"]
sys.modules["offloop.testing"] = testing
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=False)
"""


@dataclass(frozen=True, slots=True)
class OriginStats:
    """What the origin saw since it started or was reset. Reading the counters is not counted.

    Attributes:
        open_connections: connections open now.
        connections: connections accepted.
        requests: requests received.
        in_progress: requests not fully answered now.
        max_concurrent: the most requests that were in progress at one time.
        aborted_by_client: requests whose connection the client closed before the answer was sent.
        paths: requests for each path, without its query.
        targets: requests for each path with its query.
    """

    open_connections: int
    connections: int
    requests: int
    in_progress: int
    max_concurrent: int
    aborted_by_client: int
    paths: Mapping[str, int]
    targets: Mapping[str, int]


class Origin:
    """A local HTTP/1.1 origin in a process of its own; for the paths it serves see `offloop.testing.routes`.

        with Origin() as origin:
            url = origin.url("/bytes/1024?seed=3")

    ``async with`` works too. With ``tls=True`` it serves https with a self-signed certificate made on the spot, whose
    path is `ca_file`. The files directly in the folder `root` are read when it starts and served as ``/files/NAME``.
    The process ends with the block, and also when the process that started it dies.

    Raises RuntimeError when the origin does not come up within 20 s, or (``tls=True``) no certificate can be made.
    """

    _program = "offloop.testing.origin"

    def __init__(
        self,
        *,
        tls: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self._tls = tls
        self._root = root
        self._host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._base = ""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.ca_file: str | None = None

    # --- life ---

    def start(self) -> Self:
        """Start the process and wait until it listens."""
        if self._process is not None:
            raise RuntimeError("this Origin runs already; make another one")
        package = str(Path(__file__).resolve().parent.parent)
        command = [sys.executable, "-c", _BOOT, package, self._program]
        command += ["--host", self._host, "--port", str(self._port), "--until-stdin-closes", *self._arguments()]
        ready, write_end = os.pipe()
        try:
            command += ["--ready-fd", str(write_end)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[write_end]
            )
            self._owner = os.getpid()
            os.close(write_end)
            write_end = -1
            words = _read_line(ready, _START_SECONDS)
        finally:
            os.close(ready)
            if write_end >= 0:
                os.close(write_end)
        if words:
            self._base = self._hear(words)
        else:
            code = self._process.poll()
            self.stop()
            raise RuntimeError(f"the origin did not come up within {_START_SECONDS:g} s (exit code {code})")
        return self

    def _arguments(self) -> list[str]:
        """What its program is told beyond the usual."""
        arguments = [] if self._root is None else ["--root", os.fspath(self._root)]
        if self._tls:
            made = make_certificate(self._make_folder())
            self.ca_file = str(made.certificate)
            arguments += ["--certificate", str(made.certificate), "--key", str(made.key)]
        return arguments

    def _hear(self, words: str) -> str:
        """Take what the program announced; return the base of its URLs."""
        return words

    def _make_folder(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="offloop-origin-")
        return Path(self._folder.name)

    def stop(self) -> None:
        """End the process and collect it. Harmless when it does not run, and in a forked child."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # --- addresses ---

    def url(self, path: str = "/") -> str:
        """Return the URL of `path` ("/bytes/1024?seed=3")."""
        if not path.startswith("/"):
            raise ValueError(f"path must start with a slash, got {path!r}")
        if not self._base:
            raise RuntimeError("this Origin was not started: use it in a with block")
        return self._base + path

    @property
    def port(self) -> int:
        """The port it listens on."""
        port = urlsplit(self.url()).port
        assert port is not None  # the origin announces it in every URL
        return port

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError("this Origin does not run")
        return self._process.pid

    # --- counters ---

    def stats(self) -> OriginStats:
        """Ask the origin for its counters (blocking, about a millisecond; use `asyncio.to_thread` on a loop)."""
        return OriginStats(**json.loads(self._get("/_stats")))

    def reset_stats(self) -> None:
        """Start counting anew."""
        self._get("/_reset")

    def wait_for(self, wanted: Callable[[OriginStats], bool], timeout: float = 10.0) -> OriginStats:
        """Wait until `wanted` holds for the counters and return them; blocking.

        What a client does reaches the origin a moment later: ask for it in this way instead of sleeping.
        Raises TimeoutError, with the last counters, after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            stats = self.stats()
            if wanted(stats):
                return stats
            if time.monotonic() >= deadline:
                raise TimeoutError(f"the origin did not get there within {timeout:g} s; the last counters: {stats}")
            time.sleep(0.005)

    def _get(self, path: str) -> bytes:
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if self.ca_file is not None:
            import ssl  # only here: an http origin is asked without it

            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file)))
        opener = urllib.request.build_opener(*handlers)
        with opener.open(self.url(path), timeout=_START_SECONDS) as answer:
            body: bytes = answer.read()
        return body


def _read_line(fd: int, timeout: float) -> str:
    """Return the line that comes from `fd`, or "" when it ends or `timeout` seconds pass before."""
    deadline = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(fd, 4096) if readable else b""
        if not piece:
            return ""
        line += piece
    return line.decode().strip()
