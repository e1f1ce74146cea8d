"""Checksum files, held against the real sha256sum in both directions."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from offloop.sums import MAX_LINE_BYTES, BadLine, SumEntry, SumsReader, escape_name, format_line, tag_of

SHA256SUM = shutil.which("sha256sum")

NAMES = [
    b"plain",
    b"with space",
    b" leading and trailing ",
    b"*star",
    b"-dash",
    b"--tag",
    b"new\nline",
    b"carriage\rreturn",
    b"ends with cr\r",
    b"back\\slash",
    b"\\n is not a newline",
    b"\\",
    b"two\\\\and\n\r\\all",
    b"#comment",
    b"caf\xc3\xa9",
    b"not utf-8 \xff\xfe",
    b"tab\there",
    b"quote'and\"quote",
    b"(paren) = x",
    b"SHA256 (x) = y",
    b"\x01\x1b[31m",
]

H = hashlib.sha256(b"content").hexdigest()


def real(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    assert SHA256SUM is not None
    return subprocess.run(
        [SHA256SUM, *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        check=False,
    )


def read(text: bytes, *, zero: bool = False, algorithm: str = "sha256") -> list[SumEntry | BadLine]:
    return list(SumsReader(io.BytesIO(text), algorithm, zero=zero))


def names_in(text: bytes, *, zero: bool = False) -> list[bytes]:
    entries = read(text, zero=zero)
    assert all(isinstance(entry, SumEntry) for entry in entries), entries
    return [entry.name for entry in entries if isinstance(entry, SumEntry)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"content")
    return folder


needs_sha256sum = pytest.mark.skipif(
    SHA256SUM is None
    or b"9.1" not in subprocess.run([SHA256SUM, "--version"], capture_output=True, check=False).stdout.split(b"\n")[0],
    reason="coreutils 9.1 is what this module follows",
)


# --- against the real program ---------------------------------------------------------------------------------------


@needs_sha256sum
@pytest.mark.parametrize("options", [(), ("--tag",), ("-z",), ("--tag", "-z"), ("-b",), ("-b", "-z")], ids=" ".join)
def test_lines_are_the_bytes_that_sha256sum_writes(folder: Path, options: tuple[str, ...]) -> None:
    expected = real(*options, "--", *map(os.fsdecode, NAMES), cwd=folder).stdout
    ours = [
        format_line(H, name, tag="--tag" in options, zero="-z" in options, binary="-b" in options) for name in NAMES
    ]
    assert b"".join(ours) == expected


@needs_sha256sum
@pytest.mark.parametrize("tag", [False, True])
def test_sha256sum_accepts_what_is_written_here(folder: Path, tag: bool) -> None:
    lines = b"".join(format_line(H, name, tag=tag) for name in NAMES)
    done = real("--check", "--strict", "--quiet", cwd=folder, stdin=lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@needs_sha256sum
@pytest.mark.parametrize("options", [(), ("--tag",), ("-b",)], ids=" ".join)
def test_what_sha256sum_writes_is_read_back_name_by_name(folder: Path, options: tuple[str, ...]) -> None:
    assert names_in(real(*options, "--", *map(os.fsdecode, NAMES), cwd=folder).stdout) == NAMES


@needs_sha256sum
def test_nul_lines_of_sha256sum_are_read_back_name_by_name(folder: Path) -> None:
    assert names_in(real("-z", "--", *map(os.fsdecode, NAMES), cwd=folder).stdout, zero=True) == NAMES


def pieces_of_lines() -> list[bytes]:
    upper = H.upper().encode()
    digest = H.encode()
    short = digest[:-1]
    fixed = [digest, digest, digest, upper, short, digest + b"0", digest[:-1] + b"g"]
    white = [b" ", b"  ", b" *", b"\t", b"", b" \t", b"   "]
    tags = [b"SHA256 (", b"SHA256(", b"SHA256  (", b"SHA1 (", b"SHA256", b"sha256 ("]
    ends = [b") = ", b")=", b") \t=\t ", b") ", b" = ", b")) = "]
    names = [b"a", b"no such", b"n", b"\\n", b"\\\\", b"\\r", b"\\x", b"\\", b"*", b" ", b"#", b"\xff", b"-", b"\r"]
    return fixed + white + tags + ends + names + [b"\\", b"#", b" ", b"\r"]


def random_line(choose: random.Random) -> bytes:
    """A line made of the right pieces: mostly in the right order, so that a good part of them is proper."""
    pieces = pieces_of_lines()
    digest, white, tag, end = pieces[:7], pieces[7:14], pieces[14:20], pieces[20:26]
    names = pieces[26:]
    name = b"".join(choose.choices(names, k=choose.randint(0, 4)))
    shape = choose.random()
    if shape < 0.5:
        line = choose.choice(digest) + choose.choice(white) + name
    elif shape < 0.8:
        line = choose.choice(tag) + name + choose.choice(end) + choose.choice(digest)
    else:
        line = b"".join(choose.choices(pieces, k=choose.randint(0, 6)))
    prefix = choose.choice([b"", b"", b"", b"\\", b" ", b"\t\\", b" \\ "])
    return prefix + line + choose.choice([b"", b"", b"\r", b" "])


@needs_sha256sum
@pytest.mark.parametrize("seed", range(60))
def test_every_line_is_judged_and_split_as_sha256sum_does(tmp_path: Path, seed: int) -> None:
    (tmp_path / "a").write_bytes(b"content")
    choose = random.Random(seed)
    lines = [random_line(choose) for _ in range(40)]
    listing = b"\n".join(lines) + (b"\n" if seed % 2 else b"")
    (tmp_path / "SUMS").write_bytes(listing)

    done = real("--check", "--warn", "SUMS", cwd=tmp_path)

    entries = read(listing)
    bad = [entry.line_number for entry in entries if isinstance(entry, BadLine)]
    theirs = [int(line.split(b": ")[2]) for line in done.stderr.splitlines() if b": improperly formatted" in line]
    assert bad == theirs
    reported = []
    for entry in entries:
        if isinstance(entry, SumEntry):
            # While checking, sha256sum escapes a name only when it holds a newline.
            prefix, name = escape_name(entry.name) if b"\n" in entry.name else (b"", entry.name)
            word = b"FAILED open or read"
            if entry.name == b"a":
                word = b"OK" if entry.digest == H else b"FAILED"
            elif entry.name == b"-":  # standard input, which is empty here
                word = b"FAILED"
            reported.append(prefix + name + b": " + word)
    assert reported == done.stdout.split(b"\n")[:-1]


# --- by hand, for what the real program cannot show ----------------------------------------------------------------


def test_comments_and_empty_lines_are_skipped_but_counted() -> None:
    assert read(f"# comment\n\n\r\n{H}  a\nbad\n".encode()) == [SumEntry(H, b"a", 4), BadLine(5)]


def test_upper_case_digits_mean_the_same() -> None:
    assert read(f"{H.upper()}  a\n".encode()) == [SumEntry(H, b"a", 1)]


def test_the_one_space_format_is_never_mixed_with_the_other() -> None:
    assert read(f"{H} a\n{H}  b\n".encode()) == [SumEntry(H, b"a", 1), SumEntry(H, b" b", 2)]
    assert read(f"{H}  a\n{H} b\n".encode()) == [SumEntry(H, b"a", 1), BadLine(2)]


def test_a_name_with_a_nul_is_improper() -> None:
    assert read(f"{H}  a\0b\n".encode()) == [BadLine(1)]


def test_a_line_without_an_end_is_bounded_in_memory_and_the_next_one_is_read() -> None:
    endless = b"x" * (3 * MAX_LINE_BYTES)
    assert read(endless + f"\n{H}  a\n".encode()) == [BadLine(1), SumEntry(H, b"a", 2)]
    assert read(endless + f"\0{H}  a\0".encode(), zero=True) == [BadLine(1), SumEntry(H, b"a", 2)]


def test_nul_lines_have_no_escapes() -> None:
    assert read(f"{H}  a\\nb\nc\0{H}  d".encode(), zero=True) == [SumEntry(H, b"a\\nb\nc", 1), SumEntry(H, b"d", 2)]


@pytest.mark.parametrize(
    ("algorithm", "tag"), [("sha256", "SHA256"), ("md5", "MD5"), ("sha3_256", "SHA3-256"), ("blake2b", "BLAKE2b")]
)
def test_other_algorithms_have_their_own_tag_and_length(algorithm: str, tag: str) -> None:
    digest = hashlib.new(algorithm, b"content").hexdigest()
    assert tag_of(algorithm) == tag
    for with_tag in (False, True):
        line = format_line(digest, b"a", algorithm=algorithm, tag=with_tag)
        assert read(line, algorithm=algorithm) == [SumEntry(digest, b"a", 1)]
        assert read(line, algorithm="sha384") == [BadLine(1)]


@pytest.mark.parametrize("name", [b"", b"a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="without NUL bytes, got"):
        format_line(H, name)


def test_an_algorithm_without_a_fixed_size_is_refused() -> None:
    with pytest.raises(ValueError, match="fixed digest size, got 'shake_128'"):
        SumsReader(io.BytesIO(), "shake_128")
