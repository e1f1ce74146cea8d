"""The native programs that the package ships, as their users run them, beside the same commands of Python."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import offloop
from offloop import image
from offloop.testing import Origin, body_sha256, png_image

FETCH = Path(offloop.__file__).parent / "bin" / "offloop-native-fetch"
HASH = FETCH.with_name("offloop-native-hash")
BENCH = FETCH.with_name("offloop-native-bench")
BENCH_IMAGE = FETCH.with_name("offloop-native-bench-image")

Completed = subprocess.CompletedProcess[str]


def run(*command: str | Path, stdin: str = "", cwd: Path | None = None) -> Completed:
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, errors="surrogateescape", timeout=60, cwd=cwd, check=False
    )


def test_it_fetches_and_hashes_what_offloop_fetch_does(origin: Origin) -> None:
    sizes = (0, 1, 1000, 300_000, 5_000_000)
    urls = [origin.url(f"/bytes/{size}?seed=native") for size in sizes] + [origin.url("/gzip/100000?seed=native")]
    done = run(FETCH, "--max-concurrent", "3", "--timeout", "30.5", *urls)
    expected = [body_sha256(size, "native") for size in (*sizes, 100_000)]
    assert done.stdout == "".join(f"{digest}  {url}\n" for url, digest in zip(urls, expected, strict=True))
    assert done.returncode == 0
    assert done.stdout == run(sys.executable, "-m", "offloop", "fetch", "--sums", "-", *urls).stdout


def test_urls_may_come_from_a_pipe_and_a_failure_is_told_and_is_exit_code_1(origin: Origin) -> None:
    good, bad = origin.url("/bytes/10"), origin.url("/status/404")
    done = run(FETCH, "-", stdin=f"{good}\n\n{bad}\nnonsense\n")
    assert (done.returncode, done.stdout) == (1, f"{body_sha256(10)}  {good}\n")
    assert f"offloop-native-fetch: {bad}: HTTP status 404" in done.stderr
    assert "offloop-native-fetch: nonsense: URL must start with http:// or https://" in done.stderr
    assert "3 URLs, 2 failed" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--max-concurrent", "5x"],
        ["--max-concurrent", "0"],
        ["--max-concurrent", "-1"],
        ["--timeout", "soon"],
        ["--timeout", "nan"],
        ["--timeout"],
        ["--no-such-option"],
        ["-x"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_exit_code_2_and_fetches_nothing(origin: Origin, arguments: list[str]) -> None:
    before = origin.stats().requests
    done = run(FETCH, *arguments, *([origin.url("/")] if len(arguments) > 1 else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert origin.stats().requests == before


def test_it_hashes_files_as_offloop_hash_does(tmp_path: Path) -> None:
    names = ["plain", "new\nline", "back\\slash", "carriage\rreturn"]
    for name in names:
        (tmp_path / name).write_text(name * 10_000)
    done = run(HASH, *names, "missing", cwd=tmp_path)
    assert done.stdout == run(sys.executable, "-m", "offloop", "hash", *names, cwd=tmp_path).stdout
    assert done.returncode == 1
    assert re.fullmatch(r"offloop-native-hash: missing: .*No such file or directory\n", done.stderr)


def test_it_checks_the_payloads_that_it_measures() -> None:
    done = run(HASH, "--random", "50", "1000")
    assert done.returncode == 0
    assert re.fullmatch(r"50 payloads of 1000 bytes in [0-9.]+ s: \d+ hashes/s, [0-9.]+ GB/s\n", done.stdout)
    assert run(HASH, "--random", "many", "1000").returncode == 2


def test_output_that_cannot_be_written_is_exit_code_4(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in ([FETCH, origin.url("/")], [HASH, tmp_path / "file"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.returncode == 4
        assert "cannot write the output: No space left on device" in done.stderr


# ---- the contender of `offloop bench` --------------------------------------------------------------------------------


def test_the_contender_hashes_the_payloads_it_is_given_as_often_as_it_is_told(tmp_path: Path) -> None:
    payloads = [b"", b"abc", b"x" * 70_000, bytes(200)]
    packed = tmp_path / "payloads"
    packed.write_bytes(b"".join(len(payload).to_bytes(8, "little") + payload for payload in payloads))
    done = run(BENCH, "hash", packed, stdin="time 2\nprobe 1\n")
    assert (done.returncode, done.stderr) == (0, "")
    timed, probed = map(json.loads, done.stdout.splitlines())
    digests = [hashlib.sha256(payload).hexdigest() for payload in payloads]
    assert (timed["bursts"], timed["latencies_ns"]) == ([digests, digests], [])
    assert probed["bursts"] == [digests]
    assert len(probed["latencies_ns"]) == 4
    assert all(0 < latency <= probed["seconds"] * 1e9 + 1000 for latency in probed["latencies_ns"])


def test_the_contender_fetches_and_tells_what_failed(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(f"/bytes/{size}?seed=bench") for size in (0, 1000, 300_000)] + [origin.url("/status/404")]
    (tmp_path / "urls").write_text("\n".join(urls))
    done = run(BENCH, "fetch", tmp_path / "urls", "2", stdin="probe 1\n")
    assert done.returncode == 0
    (burst,) = json.loads(done.stdout)["bursts"]
    assert burst[:3] == [body_sha256(size, "bench") for size in (0, 1000, 300_000)]
    assert "404" in burst[3]


def test_the_contender_resizes_the_pictures_it_is_given(tmp_path: Path) -> None:
    pictures = [png_image(), b"no picture"]
    packed = tmp_path / "pictures"
    packed.write_bytes(b"".join(len(data).to_bytes(8, "little") + data for data in pictures))
    done = run(BENCH_IMAGE, "memory", packed, "16", stdin="time 2\nprobe 1\n")
    assert (done.returncode, done.stderr) == (0, "")
    timed, probed = map(json.loads, done.stdout.splitlines())
    assert timed["bursts"][0] == timed["bursts"][1] == probed["bursts"][0]
    picture, error = timed["bursts"][0]
    assert asyncio.run(described(bytes.fromhex(picture))) == ("jpeg", 16, 16)
    assert "picture" in error
    assert (timed["latencies_ns"], len(probed["latencies_ns"])) == ([], 2)


def test_the_contender_fetches_and_resizes_and_hashes_both(origin: Origin, tmp_path: Path) -> None:
    urls = [*(origin.url(f"/image.png?{number}") for number in range(5)), origin.url("/status/404"), "nonsense"]
    (tmp_path / "urls").write_text("\n".join(urls))
    done = run(BENCH_IMAGE, "fetch", tmp_path / "urls", "2", "16", stdin="probe 2\n")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    first, second = told["bursts"]
    assert first[:5] == second[:5] == [first[0]] * 5
    body_sha256, sha256, picture = first[0].split(" ")
    assert body_sha256 == hashlib.sha256(png_image()).hexdigest()
    assert sha256 == hashlib.sha256(bytes.fromhex(picture)).hexdigest()
    assert asyncio.run(described(bytes.fromhex(picture))) == ("jpeg", 16, 16)
    assert "404" in first[5]
    assert "URL must start with http" in first[6]
    assert len(told["latencies_ns"]) == 14


async def described(data: bytes) -> tuple[str, int, int]:
    header = await image.info(data)
    return header.format, header.width, header.height


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["memory", "FILE"], "", 2),
        (["memory", "FILE", "0"], "", 2),
        (["fetch", "FILE", "4"], "", 2),
        (["fetch", "FILE", "0", "16"], "", 2),
        (["memory", "missing", "16"], "", 3),
        (["fetch", "missing", "4", "16"], "", 3),
        (["memory", "FILE", "16"], "", 3),
        (["fetch", "FILE", "4", "16"], "race 1\n", 2),
    ],
)
def test_the_image_contender_refuses_what_it_cannot_do(
    tmp_path: Path, arguments: list[str], stdin: str, code: int
) -> None:
    (tmp_path / "FILE").write_text("http://127.0.0.1:1/\n")
    done = run(BENCH_IMAGE, *arguments, stdin=stdin, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["hash"], "", 2),
        (["fetch", "FILE", "0"], "", 2),
        (["hash", "missing"], "", 3),
        (["fetch", "missing", "4"], "", 3),
        (["hash", "FILE"], "", 3),
        (["fetch", "FILE", "4"], "time\n", 2),
        (["fetch", "FILE", "4"], "time 0\n", 2),
        (["fetch", "FILE", "4"], "race 1\n", 2),
    ],
)
def test_the_contender_refuses_what_it_cannot_do(tmp_path: Path, arguments: list[str], stdin: str, code: int) -> None:
    (tmp_path / "FILE").write_text("http://127.0.0.1:1/\n")  # URLs, but no payloads: the size would be far too large
    done = run(BENCH, *arguments, stdin=stdin, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr
