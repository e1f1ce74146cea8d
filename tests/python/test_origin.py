"""The embedded origin keeps its word, also where its word is to break the rules."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from offloop.testing import NginxOrigin, Origin, body_blocks, body_bytes, body_sha256, find_nginx, png_image
from offloop.testing.bodies import BLOCK_BYTES


@pytest.fixture(scope="module")
def shared_origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def origin(shared_origin: Origin) -> Origin:
    shared_origin.wait_for(lambda stats: stats.open_connections == 0)
    shared_origin.reset_stats()
    return shared_origin


def connect(origin: Origin) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", origin.port, timeout=10)


def get(origin: Origin, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = connect(origin)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def talk(origin: Origin, request: bytes) -> bytes:
    """Send `request` as it is; return everything up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", origin.port), timeout=10) as sock:
        sock.sendall(request)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


# --- bodies ---------------------------------------------------------------------------------------------------------

SIZES = [0, 1, 15, 16, 17, 1024, 65535, 65536, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, BLOCK_BYTES + 16, 600_000]


@pytest.mark.parametrize("n", SIZES)
def test_a_body_has_the_length_asked_for_and_is_a_prefix_of_longer_ones(n: int) -> None:
    assert body_bytes(n, 7) == body_bytes(700_000, 7)[:n]
    assert body_sha256(n, 7) == hashlib.sha256(body_bytes(n, 7)).hexdigest()


def test_bodies_never_change_from_one_release_to_the_next() -> None:
    assert body_sha256(1024, 3) == "1cdbe8f4d0aaa1e231e113a541c872c2e81c89b285b5b398ce2a5ed94030e6bb"
    assert body_sha256(10_000_000, "x") == "84630ff3fc7181bd0f02561da80b2602309878a5d4d6e2441eb51cafc37e63ea"


def test_a_seed_means_the_same_as_a_number_and_in_a_query() -> None:
    assert body_bytes(100, 3) == body_bytes(100, "3") != body_bytes(100, 4)


def test_no_two_blocks_of_a_body_are_alike() -> None:
    body = body_bytes(8 * BLOCK_BYTES)
    blocks = {body[at : at + BLOCK_BYTES] for at in range(0, len(body), BLOCK_BYTES)}
    assert len(blocks) == 8


def test_a_large_body_comes_in_bounded_pieces() -> None:
    assert max(len(block) for block in body_blocks(5_000_000)) <= BLOCK_BYTES


@pytest.mark.parametrize("n", [-1, (1 << 30) + 1])
def test_an_impossible_size_is_refused_with_the_bounds(n: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 1073741824 bytes, got {n}"):
        body_bytes(n)


def test_the_picture_is_a_valid_png() -> None:
    picture = png_image()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, kinds, pixels = 8, [], b""
    while at < len(picture):
        size = int.from_bytes(picture[at : at + 4], "big")
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        assert int.from_bytes(picture[at + 8 + size : at + 12 + size], "big") == zlib.crc32(kind + data)
        kinds.append(kind)
        pixels += data if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(zlib.decompress(pixels)) == 64 * (1 + 64 * 3)


# --- good answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("route", ["bytes", "chunked"])
def test_a_body_is_served_byte_for_byte(origin: Origin, route: str, n: int) -> None:
    response, body = get(origin, f"/{route}/{n}?seed=9")
    assert response.status == 200
    assert body == body_bytes(n, 9)


@pytest.mark.parametrize("n", [0, 1000, 3_000_000])
def test_a_gzip_body_decodes_to_the_same_bytes(origin: Origin, n: int) -> None:
    response, body = get(origin, f"/gzip/{n}?seed=2")
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == body_bytes(n, 2)


def test_a_bomb_is_small_on_the_wire_and_large_when_decoded(origin: Origin) -> None:
    _, body = get(origin, "/gzip-bomb/10000000")
    assert len(body) < 100_000
    assert gzip.decompress(body) == bytes(10_000_000)


def test_head_has_the_head_of_get_and_no_body(origin: Origin) -> None:
    for path in ("/", "/bytes/1000", "/bytes/1000000", "/image.png"):
        with_body, _ = get(origin, path)
        without, body = get(origin, path, "HEAD")
        assert without.headers.items() == with_body.headers.items()
        assert body == b""


def test_a_connection_is_kept_for_further_requests(origin: Origin) -> None:
    connection = connect(origin)
    for path in ("/bytes/10", "/bytes/1000000", "/chunked/10", "/status/404", "/slow?seconds=0", "/bytes/10"):
        connection.request("GET", path)
        connection.getresponse().read()
    assert origin.stats().connections == 1
    connection.close()


def test_requests_sent_in_one_piece_are_answered_in_order(origin: Origin) -> None:
    paths = ["/bytes/10?seed=1", "/slow?seconds=0.01&bytes=10&seed=2", "/bytes/10?seed=3", "/chunked/10?seed=4"]
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n" for path in paths)
    answer = talk(origin, requests.encode() + b"GET /bytes/10?seed=5 HTTP/1.1\r\nConnection: close\r\n\r\n")
    places = [answer.find(body_bytes(10, seed)) for seed in (1, 2, 3, 4, 5)]
    assert -1 not in places
    assert places == sorted(places)


def test_a_request_may_come_byte_by_byte(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /bytes/5 HTTP/1.0\r\nHost: h\r\n\r\n":
            sock.sendall(bytes([byte]))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.endswith(b"\r\n\r\n" + body_bytes(5))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (b"POST / HTTP/1.1\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET /bytes/x HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /bytes/9999999999 HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /status/999 HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /slow?seconds=nan HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /redirect-to?url=a%0d%0ab HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /nowhere HTTP/1.1\r\nConnection: close\r\n\r\n", b"404"),
    ],
)
def test_a_wrong_request_is_refused_and_the_origin_lives_on(
    origin: Origin, request_bytes: bytes, status: bytes
) -> None:
    assert talk(origin, request_bytes).split(b" ")[1] == status
    assert get(origin, "/")[0].status == 200


def test_the_request_is_echoed(origin: Origin) -> None:
    connection = connect(origin)
    connection.request("GET", "/headers?a=b", headers={"X-Probe": "17"})
    echo = json.loads(connection.getresponse().read())
    connection.close()
    assert (echo["method"], echo["target"]) == ("GET", "/headers?a=b")
    assert ["x-probe", "17"] in echo["headers"]


@pytest.mark.parametrize("code", [200, 204, 304, 404, 429, 503, 599])
def test_any_status_can_be_had(origin: Origin, code: int) -> None:
    response, _ = get(origin, f"/status/{code}?retry-after=7")
    assert (response.status, response.headers["Retry-After"]) == (code, "7")


def test_a_chain_of_redirects_ends_at_the_page_and_a_loop_does_not(origin: Origin) -> None:
    path = "/redirect/3"
    for _ in range(3):
        response, _ = get(origin, path)
        assert response.status == 302
        path = response.headers["Location"]
    assert path == "/"
    assert get(origin, "/redirect-loop")[0].headers["Location"] == "/redirect-loop"
    assert (
        get(origin, "/redirect-to?url=http%3A%2F%2Fh%2F%3Fa%3Db&status=307")[0].headers["Location"] == "http://h/?a=b"
    )


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_drip_arrives_whole(origin: Origin) -> None:
    assert get(origin, "/drip?bytes=997&seconds=0.1&seed=4")[1] == body_bytes(997, 4)


def test_a_reset_comes_after_the_bytes_announced(origin: Origin) -> None:
    with pytest.raises(ConnectionResetError):
        get(origin, "/reset?after=300000")
    with pytest.raises(ConnectionResetError):
        get(origin, "/reset?after=-1")


def test_a_length_lie_ends_early(origin: Origin) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(origin, "/short?claim=5000&send=1234")
    assert (len(caught.value.partial), caught.value.expected) == (1234, 5000 - 1234)


def test_cut_chunks_have_no_end(origin: Origin) -> None:
    with pytest.raises(http.client.IncompleteRead):
        get(origin, "/chunked/1000?cut=500")


def test_close_and_garbage_are_no_answers(origin: Origin) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        get(origin, "/close")
    with pytest.raises(http.client.BadStatusLine):
        get(origin, "/garbage")


@pytest.mark.parametrize("how", ["data", "checksum", "truncated", "plain"])
def test_broken_gzip_cannot_be_decoded(origin: Origin, how: str) -> None:
    _, body = get(origin, f"/gzip-broken?how={how}")
    with pytest.raises((EOFError, OSError, zlib.error)):
        gzip.decompress(body)


@pytest.mark.parametrize("path", ["/hang", "/endless", "/slow?seconds=600", "/bytes/1000000000"])
def test_a_client_that_leaves_early_is_counted_as_such(origin: Origin, path: str) -> None:
    connection = connect(origin)
    connection.request("GET", path)
    assert origin.wait_for(lambda stats: stats.in_progress == 1).open_connections == 1
    connection.close()
    stats = origin.wait_for(lambda stats: stats.open_connections == 0)
    assert (stats.aborted_by_client, stats.in_progress) == (1, 0)


def test_faults_of_the_origin_are_not_blamed_on_the_client(origin: Origin) -> None:
    for path in ("/reset", "/short", "/close", "/garbage", "/chunked/1000?cut=1"):
        with pytest.raises((OSError, http.client.HTTPException)):
            get(origin, path)
    stats = origin.wait_for(lambda stats: stats.open_connections == 0)
    assert (stats.aborted_by_client, stats.in_progress) == (0, 0)


# --- counters -------------------------------------------------------------------------------------------------------


def test_complete_answers_are_never_counted_as_aborted(origin: Origin) -> None:
    for _ in range(30):
        get(origin, "/bytes/2000000")
        get(origin, "/chunked/300000")
        get(origin, "/drip?bytes=10&seconds=0")
    assert origin.wait_for(lambda stats: stats.open_connections == 0).aborted_by_client == 0


def test_concurrent_requests_and_targets_are_counted(origin: Origin) -> None:
    connections = [connect(origin) for _ in range(7)]
    for number, connection in enumerate(connections):
        connection.request("GET", f"/hang?{number % 2}")
    stats = origin.wait_for(lambda stats: stats.in_progress == 7)
    for connection in connections:
        connection.close()
    assert (stats.max_concurrent, stats.open_connections, stats.connections, stats.requests) == (7, 7, 7, 7)
    assert stats.paths == {"/hang": 7}
    assert stats.targets == {"/hang?0": 4, "/hang?1": 3}


def test_a_repeated_request_is_counted_each_time(origin: Origin) -> None:
    connection = connect(origin)
    for _ in range(5):
        connection.request("GET", "/bytes/100?seed=1")
        assert connection.getresponse().read() == body_bytes(100, 1)
    connection.close()
    assert origin.stats().targets == {"/bytes/100?seed=1": 5}


# --- the process ----------------------------------------------------------------------------------------------------


def test_the_process_ends_with_the_block_and_leaves_no_zombie() -> None:
    with Origin() as origin:
        pid = origin.pid
        held = socket.create_connection(("127.0.0.1", origin.port))  # an open connection does not hold it up
    held.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_works_as_an_asynchronous_context_manager() -> None:
    async def ask() -> int:
        async with Origin() as origin:
            return (await asyncio.to_thread(origin.stats)).requests

    assert asyncio.run(ask()) == 0


def test_it_dies_with_the_process_that_started_it() -> None:
    script = (
        "import os, signal; from offloop.testing import Origin; o = Origin().start(); print(o.pid, o.port, flush=True)"
    )
    script += "; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    pid, port = map(int, done.stdout.split())
    # Blocks until the orphan's end closes the connection, or is refused because that has happened already.
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            assert sock.recv(1) == b""
    except ConnectionError:
        pass
    assert pid > 0


def test_it_starts_where_the_native_part_is_broken(tmp_path: Path) -> None:
    """The program is run as `Origin` runs it: without `offloop/__init__.py`."""
    probe = "import sys\nclass Wall:\n  def find_spec(self, name, path=None, target=None):\n"
    probe += (
        "    if name in ('offloop._core', 'offloop._ext'): raise ImportError(name)\nsys.meta_path.insert(0, Wall())\n"
    )
    (tmp_path / "sitecustomize.py").write_text(probe)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    saved = dict(os.environ)
    os.environ.update(environment)
    try:
        with Origin() as origin:
            assert get(origin, "/")[0].status == 200
    finally:
        os.environ.clear()
        os.environ.update(saved)


def test_it_can_be_run_as_a_program_that_prints_its_url() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "offloop.testing.origin", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        url = urlsplit(program.stdout.readline().strip())
        assert (url.scheme, url.hostname) == ("http", "127.0.0.1")
        with socket.create_connection(("127.0.0.1", url.port or 0), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
    finally:
        program.terminate()
        assert program.wait(10) == 0
        if program.stdout is not None:
            program.stdout.close()


def test_a_path_without_a_slash_is_refused(origin: Origin) -> None:
    with pytest.raises(ValueError, match="must start with a slash, got 'bytes/1'"):
        origin.url("bytes/1")


def test_a_tls_origin_is_verified_by_its_own_certificate_only() -> None:
    import ssl
    import urllib.request
    from urllib.error import URLError

    with Origin(tls=True) as origin:
        assert origin.url().startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=origin.ca_file)
        with urllib.request.urlopen(origin.url("/bytes/200000?seed=5"), context=trusting) as answer:
            assert answer.read() == body_bytes(200_000, 5)
        with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(origin.url(), context=ssl.create_default_context())
        assert origin.stats().requests == 1
        folder = Path(origin.ca_file or "").parent
    assert not folder.exists()


@pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")
def test_nginx_serves_a_folder_and_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(body_bytes(300_000))
    with NginxOrigin(tmp_path) as nginx:
        connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)
        connection.request("GET", "/file")
        assert connection.getresponse().read() == body_bytes(300_000)
        connection.request("GET", "/nothing")
        assert connection.getresponse().status == 404
        connection.close()
        port = nginx.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_nginx_refuses_what_its_configuration_could_not_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without quotes"):
        NginxOrigin(tmp_path / 'a"b')
    with pytest.raises(ValueError, match="workers must be greater than 0, got 0"):
        NginxOrigin(tmp_path, workers=0)


def test_the_files_of_a_folder_are_served_as_they_were_when_it_started(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a picture")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b").write_bytes(b"not directly in it")
    with Origin(root=tmp_path) as origin:
        (tmp_path / "a.jpg").write_bytes(b"another")
        for target in ("/files/a.jpg", "/files/a.jpg?1"):
            response, body = get(origin, target)
            assert (response.status, body) == (200, b"a picture")
        for target in ("/files/", "/files/b", "/files/below/b", "/files/../a.jpg", "/files"):
            assert get(origin, target)[0].status == 404
    with Origin() as origin:
        assert get(origin, "/files/a.jpg")[0].status == 404
