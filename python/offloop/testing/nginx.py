"""`NginxOrigin`: nginx, where it is installed, serving one folder for the demo and the benchmarks."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from offloop.testing.certificate import make_certificate

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0

# One worker: a benchmark shares its cores with the origin, and must be able to say how many the origin had.
_CONFIGURATION = """\
daemon off;
{user}
worker_processes {workers};
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  open_file_cache max={cached_files} inactive=3600s;
  open_file_cache_valid 3600s;
  types {{ text/html html; image/png png; }}
  default_type application/octet-stream;
  client_body_temp_path {prefix}/client_body;
  proxy_temp_path {prefix}/proxy;
  fastcgi_temp_path {prefix}/fastcgi;
  uwsgi_temp_path {prefix}/uwsgi;
  scgi_temp_path {prefix}/scgi;
  log_format served "$connection $status $body_bytes_sent $request_uri";
  server {{
    listen {host}:{port}{protocol} backlog=4096;
    root "{root}";{more}
  }}
}}
"""

# Where HTTP/2 is tested: which connection answered, answers as slow as the query says, and what became of each.
_HTTP2 = """
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    add_header X-Connection $connection always;
    limit_rate $arg_rate;
    limit_rate_after 512k;
    access_log {prefix}/access.log served;"""


@dataclass(frozen=True, slots=True)
class Served:
    """A request that has ended, in whichever way, as nginx counts it."""

    connection: int
    status: int
    body_bytes: int  # sent; fewer than the file has when the client gave up
    path: str


def find_nginx() -> str | None:
    """Return the path of the nginx program, or None when it is not installed."""
    # System programs are often not on the PATH of an ordinary user.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class NginxOrigin:
    """nginx in a process of its own that serves the files under `root` on a free port of 127.0.0.1.

        with NginxOrigin(folder) as origin:
            url = origin.url("/file-1")

    With ``http2=True`` it serves https with a self-signed certificate made on the spot, whose path is `ca_file`, in
    HTTP/2 to whoever offers it. An answer's X-Connection is the number of its connection, `served` lists what has
    ended, and ``?rate=1000`` in a URL limits the answer, after 512 KiB, to so many bytes a second.

    Raises RuntimeError when nginx is not installed or does not come up (the message holds its words), or no certificate
    can be made.
    """

    def __init__(self, root: str | os.PathLike[str], *, workers: int = 1, http2: bool = False) -> None:
        if workers < 1:
            raise ValueError(f"workers must be greater than 0, got {workers}")
        self._root = Path(root).resolve()
        if any(character in str(self._root) for character in '"\\$\n'):
            raise ValueError(
                f"root must be a path without quotes, backslashes or dollar signs, got {str(self._root)!r}"
            )
        self._workers = workers
        self._http2 = http2
        self.ca_file: str | None = None
        self._host = "127.0.0.1"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> Self:
        """Start nginx and wait until it takes connections."""
        nginx = find_nginx()
        if nginx is None:
            raise RuntimeError("expected nginx to be installed (Debian: apt-get install nginx-light), found none")
        if self._process is not None:
            raise RuntimeError("this NginxOrigin runs already; make another one")
        self._folder = tempfile.TemporaryDirectory(prefix="offloop-nginx-")
        prefix = Path(self._folder.name)
        self.port = _free_port(self._host)
        descriptors = _open_files_limit()
        (prefix / "nginx.conf").write_text(
            _CONFIGURATION.format(
                # Started by root, nginx would otherwise serve as a user who may not see a temporary folder.
                user="user root;" if os.geteuid() == 0 else "",
                workers=self._workers,
                prefix=prefix,
                host=self._host,
                port=self.port,
                protocol=" ssl http2" if self._http2 else "",
                root=self._root,
                more=self._tls_settings(prefix) if self._http2 else "",
                connections=descriptors // 2,
                cached_files=descriptors // 4,
            )
        )
        with (prefix / "start.log").open("wb") as log:
            self._process = subprocess.Popen(
                [nginx, "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-e", str(prefix / "error.log")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._owner = os.getpid()
        if not self._comes_up():
            words = "".join(
                path.read_text(errors="replace")
                for path in (prefix / "start.log", prefix / "error.log")
                if path.exists()
            )
            self.stop()
            raise RuntimeError(f"nginx did not come up within {_START_SECONDS:g} s: {words.strip()}")
        return self

    def _tls_settings(self, prefix: Path) -> str:
        made = make_certificate(prefix)
        self.ca_file = str(made.certificate)
        return _HTTP2.format(certificate=made.certificate, key=made.key, prefix=prefix)

    def _comes_up(self) -> bool:
        assert self._process is not None  # called by start only
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((self._host, self.port)) == 0:
                    return True
            time.sleep(0.01)
        return False

    def stop(self) -> None:
        """End nginx and collect it. Harmless when it does not run, and in a forked child."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def url(self, path: str = "/") -> str:
        """Return the URL of the file at `path` under the root ("/file-1")."""
        if not path.startswith("/"):
            raise ValueError(f"path must start with a slash, got {path!r}")
        if not self.port:
            raise RuntimeError("this NginxOrigin was not started: use it in a with block")
        return f"{'https' if self._http2 else 'http'}://{self._host}:{self.port}{path}"

    def served(self) -> list[Served]:
        """Return the requests that have ended, oldest first. Only with ``http2=True``: nothing else is logged."""
        if not self._http2 or self._folder is None:
            raise RuntimeError("served() is of a running NginxOrigin with http2=True")
        found = []
        for line in (Path(self._folder.name) / "access.log").read_text().splitlines():
            connection, status, body_bytes, path = line.split(" ", 3)
            found.append(Served(int(connection), int(status), int(body_bytes), path))
        return found

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _open_files_limit() -> int:
    """Return how many descriptors nginx may have: what it inherits from us, within reason.

    Connections and cached files share them; without room left, nginx answers 500 and stops accepting.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65536 if soft == resource.RLIM_INFINITY else min(soft, 65536)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
