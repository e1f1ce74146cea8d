"""``make demo``, without the making: the main job on a local origin, verified, beside plain asyncio."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from offloop.testing import body_bytes, find_nginx, png_image

DEMO = [sys.executable, "-m", "offloop.testing.demo"]

# What a user is to see of each failure.
FAILURES = {
    r"/slow\?seconds=60": "FetchTimeoutError: Fetch timed out for",
    "/status/500": "HTTPStatusError: Fetch failed for",
    r"/short\?claim=5000&send=100": "IncompleteBodyError: Fetch failed for",
    "http://127.0.0.1:1/": "ConnectError: Fetch failed for",
}


def demo(extra: Mapping[str, str], timeout: float = 55) -> str:
    environment = {**os.environ, "COLUMNS": "160", **extra}
    done = subprocess.run(DEMO, capture_output=True, text=True, env=environment, timeout=timeout, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def shown() -> str:
    return demo({})


def test_the_demo_verifies_everything(shown: str) -> None:
    assert "every digest is hashlib's, every failure is of its class" in shown
    assert "WRONG" not in shown


def test_the_demo_says_where_it_runs(shown: str) -> None:
    assert re.match(r"offloop \d\S*, Python \d\S*, .+, \d+ CPUs\n", shown)
    origin = "nginx and the embedded one" if find_nginx() else "the embedded one"
    assert f"origin: {origin}, on loopback, sharing these CPUs" in shown


@pytest.mark.parametrize("url", FAILURES)
def test_the_demo_shows_each_failure(shown: str, url: str) -> None:
    flat = re.sub(r"[\s│┃]+", " ", shown)  # the table folds long cells
    assert re.search(url, flat), f"no row of {url}"
    assert FAILURES[url] in flat


def test_the_demo_shows_the_digests_of_what_came(shown: str) -> None:
    for size in ("10000000", "100000000", "5000", "16"):
        assert re.search(rf"[│ ]{size} [│ ]+[0-9a-f]{{64}}", shown), f"no row of {size} bytes with a digest"


def test_without_nginx_and_on_a_narrow_terminal_everything_is_shown_as_well() -> None:
    without = "import sys; from offloop.testing import demo; demo.find_nginx = lambda: None; sys.exit(demo.main())"
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    program = subprocess.Popen([sys.executable, "-c", without], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 4096):
            seen += piece
    except OSError:  # how a terminal says that nobody holds the other end any more
        pass
    finally:
        os.close(leader)
    assert program.wait(55) == 0, seen.decode()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())
    assert "every digest is hashlib's, every failure is of its class" in shown
    columns = [line.split("│")[1:4] for line in shown.splitlines() if line.startswith("│") and line.endswith("│")]
    urls, answers = ("".join(column[at].strip() for column in columns) for at in (0, 2))
    for route, body in (("/image.png", png_image()), ("/slow?seconds=0.5&bytes=16", body_bytes(16))):
        assert route in urls
        assert hashlib.sha256(body).hexdigest() in answers
    assert "HTTPstatus500" in answers.replace(" ", "")  # the end of a message, not only its beginning


def test_the_demo_shows_throughput_and_the_asyncio_variant(shown: str) -> None:
    line = r"^ *{name}: \d+ URLs, \d+ MB in [\d.]+ s = \d+ URLs/s, \d+ MB/s; [\d.]+ s of this process's CPU$"
    assert re.search(line.format(name="offloop"), shown, re.MULTILINE)
    if importlib.util.find_spec("aiohttp") is None:
        assert "aiohttp is not installed: the asyncio variant is left out" in shown
        return
    assert re.search(line.format(name="asyncio"), shown, re.MULTILINE)
    assert "asyncio is limited by its one thread" in shown
    assert "offloop by libcurl" in shown
