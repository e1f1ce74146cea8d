"""isolate=True as it is installed: the decoder program beside the library, what it loads, pictures through it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

import offloop

pytest.importorskip("offloop._image", reason="built without images")

INSTALLED = Path(offloop.__file__).parent
DECODER = INSTALLED / "offloop-decoder"


def png(width: int, height: int) -> bytes:
    """A picture, RGB, every pixel another colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def row(y: int) -> bytes:
        return b"\0" + bytes((x * 7 + y * 13 + c * 50) % 256 for x in range(width) for c in range(3))

    rows = b"".join(row(y) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decoders() -> list[int]:
    """The decoder processes of this one, which has other children besides."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, status = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            if name.endswith("(offloop-decoder") and int(status.split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def loaded_by(file: Path) -> str:
    return subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout


def test_the_decoder_is_an_executable_beside_the_library() -> None:
    assert os.access(DECODER, os.X_OK)
    assert (INSTALLED / "liboffloop_image.so.0").exists()


@pytest.mark.skipif(shutil.which("ldd") is None, reason="needs ldd")
def test_the_decoder_loads_codecs_and_no_more() -> None:
    loaded = loaded_by(DECODER)
    assert "not found" not in loaded
    names = set(re.findall(r"lib([a-zA-Z_+-]+?)[-.\d]*\.so", loaded))
    assert {"jpeg", "png", "webp", "seccomp"} <= names
    assert not names & {"offloop", "offloop_image", "python", "glib", "gobject", "vips", "curl", "ssl", "crypto"}


@pytest.mark.skipif(shutil.which("ldd") is None, reason="needs ldd")
def test_nothing_but_the_decoder_loads_the_filter_library() -> None:
    for file in [*INSTALLED.glob("*.so*")]:
        assert "libseccomp" not in loaded_by(file).replace("libvips", ""), file.name


def test_run_by_hand_it_says_what_it_is() -> None:
    done = subprocess.run([DECODER], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "offloop-decoder: started by offloop itself, for isolate=True; of no use alone\n"


async def test_a_picture_comes_back_as_it_does_without() -> None:
    picture = png(64, 48)
    here = await offloop.image.resize(picture, width=16, format="png")
    there = await offloop.image.resize(picture, width=16, format="png", isolate=True)
    assert there == here


async def test_many_at_once_and_a_dead_decoder_between() -> None:
    pictures = [png(40 + n, 30) for n in range(20)]
    expected = [await offloop.image.resize(picture, width=10, format="webp") for picture in pictures]
    for _ in range(3):
        got = await asyncio.gather(
            *(offloop.image.resize(picture, width=10, format="webp", isolate=True) for picture in pictures)
        )
        assert got == expected
        idle = decoders()
        assert idle
        for pid in idle:  # the next pictures get new ones, and nobody is told
            os.kill(pid, signal.SIGKILL)


async def test_a_broken_picture_is_an_image_error_and_another_format_is_unsupported() -> None:
    with pytest.raises(offloop.ImageError):
        await offloop.image.resize(png(64, 48)[:100], width=16, isolate=True)
    with pytest.raises(offloop.UnsupportedFormatError, match="jpeg, png and webp, got gif"):
        await offloop.image.resize(b"GIF89a" + bytes(100), width=16, isolate=True)


@pytest.mark.parametrize("ending", ["", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_program_ends_silently_and_leaves_no_decoder(ending: str) -> None:
    code = (
        "import asyncio, os, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_isolation import decoders, offloop, png\n"
        "async def main(): await offloop.image.resize(png(64, 48), width=16, isolate=True)\n"
        "asyncio.run(main())\n"
        "print(*decoders(), flush=True)\n" + ending
    )
    command = [sys.executable, "-c", code, Path(__file__).parent]
    # What it leaves behind keeps the pipe open no longer than it lives: decoders have /dev/null there.
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    (decoder,) = map(int, done.stdout.split())
    until = time.monotonic() + 30
    while is_a_decoder(decoder) and time.monotonic() < until:
        time.sleep(0.02)  # it is killed by the kernel, which tells nobody but its parent
    assert not is_a_decoder(decoder)


def is_a_decoder(pid: int) -> bool:
    """Alive; a zombie that nobody has waited for yet is not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"offloop-decoder")
    except OSError:
        return False
