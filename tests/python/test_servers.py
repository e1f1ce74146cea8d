"""offloop in programs that fork for a living: gunicorn with and without --preload, subprocesses of a loop."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bridge_helpers import DATA, DIGEST, PATIENCE_S, PROGRAMS

import offloop

WORKERS = 2


class OverSocket(http.client.HTTPConnection):
    """HTTP over a socket file: no port to choose and to collide on."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def get(path: Path) -> str:
    connection = OverSocket(path)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@contextmanager
def gunicorn(*options: str) -> Iterator[tuple[Path, subprocess.Popen[str], Path]]:
    pytest.importorskip("gunicorn")
    with tempfile.TemporaryDirectory() as folder:  # short enough for the name of a socket
        path, log = Path(folder, "socket"), Path(folder, "log")
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "gunicorn", "--chdir", str(PROGRAMS)]
        with log.open("w") as file:
            server = subprocess.Popen(
                [*command, "-b", f"unix:{path}", "-w", str(WORKERS), *options, "wsgi_app"], stderr=file, text=True
            )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not path.exists() or "Booting worker" not in log.read_text():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield path, server, log
        finally:
            server.kill()
            server.wait()


@pytest.mark.parametrize("options", [("--preload",), ()], ids=["preload", "no preload"])
def test_gunicorn_workers_use_a_pool_of_their_own(options: tuple[str, ...]) -> None:
    with gunicorn(*options) as (path, server, log):
        answers: set[str] = set()
        deadline = time.monotonic() + PATIENCE_S
        while len(answers) < WORKERS:  # one socket for both: either may take a connection
            answers.add(get(path))
            assert time.monotonic() < deadline, (answers, log.read_text())
        assert all(answer.endswith(" ok") for answer in answers), answers
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
        lines = log.read_text().splitlines()
        assert [line for line in lines if "[INFO]" not in line] == []


async def test_subprocesses_of_the_loop_and_operations_do_not_disturb_each_other() -> None:
    """uvloop runs the program's fork handlers in the child between fork and exec."""
    for _ in range(5):
        operations = [offloop.sha256(DATA) for _ in range(50)]
        children = [
            await asyncio.create_subprocess_exec("/bin/echo", "word", stdout=asyncio.subprocess.PIPE) for _ in range(4)
        ]
        outputs = await asyncio.gather(*(child.communicate() for child in children))
        assert [output for output, _ in outputs] == [b"word\n"] * 4
        assert await asyncio.gather(*operations) == [DIGEST] * 50
        assert [child.returncode for child in children] == [0] * 4
