"""``offloop image`` as a program: names, lines, sums, sheets, exit codes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from image_helpers import decoded, encoded, natural, np, oriented, with_alpha
from picture_server import PictureServer

from offloop.cli import main
from offloop.cli.image_names import Names, stem_of
from offloop.testing import Origin

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb", "COLUMNS": "120"}
IMAGE = [sys.executable, "-m", "offloop", "image"]

Completed = subprocess.CompletedProcess[str]


def image(*arguments: str | Path, cwd: Path) -> Completed:
    """The command line in this process: starting another for each would take most of the time."""
    streams = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape"), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        code = main(["image", *map(str, arguments)])
    streams[0].flush()
    out = streams[0].buffer.getvalue().decode("utf-8", "surrogateescape")  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, code, out, streams[1].getvalue())


def resize(*arguments: str | Path, cwd: Path) -> Completed:
    return image("resize", *arguments, cwd=cwd)


def resize_as_program(*arguments: str, cwd: Path, stdin: str) -> Completed:
    return subprocess.run(
        [*IMAGE, "resize", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        cwd=cwd,
        check=False,
    )


def records(done: Completed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def names(folder: Path) -> list[str]:
    """All of it, hidden files too: nothing half-done may stay."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encoded(natural(160, 120), "jpeg")


@pytest.fixture
def folder(tmp_path: Path, photo: bytes) -> Path:
    """Pictures of three formats under names that lie, and what is none."""
    (tmp_path / "in" / "below").mkdir(parents=True)
    (tmp_path / "in" / "a.jpg").write_bytes(photo)
    (tmp_path / "in" / "below" / "a.png").write_bytes(encoded(with_alpha(natural(90, 60)), "png"))
    (tmp_path / "in" / "below" / "turned.txt").write_bytes(oriented(natural(80, 40), 6))
    (tmp_path / "in" / "below" / "w").write_bytes(encoded(natural(50, 50), "webp"))
    (tmp_path / "in" / "notes.jpg").write_text("no picture")
    return tmp_path


# --- resize ---------------------------------------------------------------------------------------------------------


def test_pictures_below_a_folder_are_known_by_their_bytes_and_results_by_their_sources(folder: Path) -> None:
    done = resize("in", "--out", "out", "--size", "32", "--json", cwd=folder)
    assert (done.returncode, done.stderr.splitlines()[0].split(";")[0]) == (0, "4 ok, 0 failed")
    found = records(done)
    assert [record["index"] for record in found] == [0, 1, 2, 3]
    assert [record["source"] for record in found] == ["in/a.jpg", "in/below/a.png", "in/below/turned.txt", "in/below/w"]
    assert [record["output"] for record in found] == ["out/a.jpg", "out/a-2.png", "out/turned.jpg", "out/w.webp"]
    assert [(record["width"], record["height"]) for record in found] == [(32, 24), (32, 21), (16, 32), (32, 32)]
    assert names(folder / "out") == ["a-2.png", "a.jpg", "turned.jpg", "w.webp"]
    for record in found:
        written = (folder / record["output"]).read_bytes()
        assert record["size"] == len(written)
        assert decoded(written).shape[:2] == (record["height"], record["width"])
        assert record["input"]["size"] == (folder / record["source"]).stat().st_size


def test_a_second_run_into_the_same_folder_gives_the_same_names(folder: Path) -> None:
    arguments = ("in", "in/below", "--out", "out", "--size", "16", "--json", "--overwrite", "--max-concurrent", "3")
    first = records(resize(*arguments, cwd=folder))
    second = records(resize(*arguments, cwd=folder))
    assert [record["output"] for record in first] == [record["output"] for record in second]
    assert len({record["output"] for record in first}) == len(first) == 7


def test_an_existing_file_is_kept_unless_told_otherwise(folder: Path, photo: bytes) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "a.jpg").write_text("mine")
    (folder / "out" / "w.webp").symlink_to(folder / "elsewhere")
    for extra in ([], ["--format", "jpeg"]):
        done = resize("in/a.jpg", "--out", "out", "--size", "32", "--json", *extra, cwd=folder)
        (record,) = records(done)
        assert (done.returncode, record["ok"], record["error"]) == (1, False, "FileExistsError")
        assert "--overwrite" in record["message"]
        assert (folder / "out" / "a.jpg").read_text() == "mine"
    done = resize("in/a.jpg", "in/below/w", "--out", "out", "--size", "32", "--overwrite", cwd=folder)
    assert done.returncode == 0
    assert decoded((folder / "out" / "a.jpg").read_bytes()).shape == (24, 32, 3)
    assert not (folder / "out" / "w.webp").is_symlink()  # the link was replaced and not followed
    assert names(folder / "out") == ["a.jpg", "w.webp"]
    assert not (folder / "elsewhere").exists()


def test_results_below_the_folder_are_not_taken_for_sources(folder: Path) -> None:
    done = resize(".", "--out", "./in/below/out", "--width", "20", "--quiet", cwd=folder)
    assert done.returncode == 0
    again = resize(".", "--out", "in/below/out", "--width", "20", "--overwrite", "--json", cwd=folder)
    assert len(records(again)) == 4
    into_itself = resize("in", "--out", "in", "--size", "20", "--format", "png", "--json", cwd=folder)
    assert len(records(into_itself)) == 8
    assert not [name for name in names(folder) if "/.offloop" in name]


def test_options_are_those_of_the_python_interface(folder: Path) -> None:
    def size_of(*arguments: str) -> tuple[int, ...]:
        done = resize("in/a.jpg", "--out", "out", "--overwrite", "--quiet", *arguments, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        (path,) = (folder / "out").iterdir()
        shape = decoded(path.read_bytes()).shape
        path.unlink()
        return shape

    assert size_of("--size", "40") == (30, 40, 3)
    assert size_of("--size", "40x20") == (20, 27, 3)
    assert size_of("--size", "40", "--fit", "cover") == (40, 40, 3)
    assert size_of("--width", "40", "--height", "40") == (40, 40, 3)
    assert size_of("--height", "60") == (60, 80, 3)
    assert size_of("--size", "400", "--without-enlargement") == (120, 160, 3)
    assert size_of("--format", "png") == (120, 160, 3)
    assert size_of("--size", "40", "--fit", "contain", "--kernel", "area", "--position", "left top") == (40, 40, 3)


def test_quality_background_and_orientation_reach_the_core(folder: Path) -> None:
    def made(source: str, *arguments: str) -> bytes:
        done = resize(source, "--out", "out", "--overwrite", "--quiet", *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        (path,) = (folder / "out").iterdir()
        data = path.read_bytes()
        path.unlink()
        return data

    assert len(made("in/a.jpg", "--size", "80", "--quality", "20")) < len(made("in/a.jpg", "--size", "80"))
    assert decoded(made("in/below/turned.txt", "--size", "40")).shape == (40, 20, 3)
    assert decoded(made("in/below/turned.txt", "--size", "40", "--no-auto-orient")).shape == (20, 40, 3)
    for color in ("#ff0000", "255,0,0"):
        corner = decoded(made("in/below/a.png", "--format", "jpeg", "--background", color))[0, 0].astype(int)
        assert np.abs(corner - (255, 0, 0)).max() < 12
    kept = made("in/below/turned.txt", "--size", "40", "--keep-metadata", "--no-auto-orient")
    assert b"Exif" in kept
    assert b"Exif" not in made("in/below/turned.txt", "--size", "40")


def test_a_picture_that_fails_is_a_record_and_the_others_go_on(folder: Path, photo: bytes) -> None:
    (folder / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    os.mkfifo(folder / "pipe")
    listed = ["cut.jpg", "in/a.jpg", "in/notes.jpg", "missing.png", "pipe"]
    done = resize(*listed, "--out", "out", "--size", "32", "--json", cwd=folder)
    found = records(done)
    assert done.returncode == 1
    assert [record["source"] for record in found] == listed
    errors = [record.get("error") for record in found]
    assert errors == ["ImageError", None, "UnsupportedFormatError", "FileNotFoundError", "OSError"]
    assert names(folder / "out") == ["a.jpg"]
    table = resize(*listed, "--out", "out", "--size", "32", "--overwrite", cwd=folder)
    assert "UnsupportedFormatError: expected a picture" in table.stdout
    assert table.stderr.splitlines()[0].startswith("1 ok, 4 failed; ")
    assert "  1 FileNotFoundError" in table.stderr.splitlines()


def test_limits_are_limits(folder: Path) -> None:
    done = resize("in/a.jpg", "--out", "out", "--size", "32", "--json", "--max-pixels", "19199", cwd=folder)
    assert records(done)[0]["error"] == "ImageLimitError"
    done = resize("in/a.jpg", "--out", "out", "--size", "32", "--json", "--max-pixels", "19200", cwd=folder)
    assert done.returncode == 0
    done = resize("in/a.jpg", "--out", "o2", "--size", "32", "--json", "--max-bytes", "1kB", cwd=folder)
    assert records(done)[0]["error"] == "ImageLimitError"


def test_sums_are_of_inputs_and_results_and_sha256sum_reads_them(folder: Path) -> None:
    done = resize("in", "--out", "out", "--size", "32", "--sha256", "SUMS", "--json", cwd=folder)
    assert done.returncode == 0
    checked = subprocess.run(["sha256sum", "--strict", "-c", "SUMS"], cwd=folder, capture_output=True, text=True)
    assert (checked.returncode, len(checked.stdout.splitlines())) == (0, 8)
    first = records(done)[0]
    assert first["sha256"] == hashlib.sha256((folder / first["output"]).read_bytes()).hexdigest()
    assert first["input"]["sha256"] == hashlib.sha256((folder / first["source"]).read_bytes()).hexdigest()
    to_stdout = resize("in", "--out", "out", "--size", "32", "--sha256", "-", "--overwrite", "--quiet", cwd=folder)
    assert to_stdout.stdout == (folder / "SUMS").read_text()


def test_a_listing_of_paths_and_urls_is_read_from_a_file(folder: Path, photo: bytes) -> None:
    with PictureServer({}, photo) as server:
        (folder / "list").write_text(f"# pictures\n\nin/below\n  {server.url('/x.php?id=7')}\nin/a.jpg\n")
        done = resize("--from", "list", "--out", "out", "--size", "32", "--json", cwd=folder)
        arguments = ("--from", "-", "--out", "o2", "--size", "32", "--quiet")
        piped = resize_as_program(*arguments, cwd=folder, stdin="in/a.jpg\n" * 3)
    outputs = [record["output"] for record in records(done)]
    assert outputs == ["out/a.png", "out/turned.jpg", "out/w.webp", "out/x.jpg", "out/a-2.jpg"]
    assert piped.returncode == 0
    assert names(folder / "o2") == ["a-2.jpg", "a-3.jpg", "a.jpg"]


def test_nothing_a_url_says_leads_out_of_the_folder(folder: Path, photo: bytes) -> None:
    paths = ["/../../etc/passwd.jpg", "/%2e%2e%2f%2e%2e%2fevil.jpg", "/..%5c..%5cevil.jpg", "/", "/.hidden.png", "/-rf"]
    paths += ["/a%00b%0ac.jpg", "/" + "long" * 60 + ".jpg", "/%ff%fe.jpg", "/...", "/a;b%7Cc.jpg"]
    with PictureServer({}, photo) as server:
        done = resize(*map(server.url, paths), "--out", "deep/out", "--size", "16", "--json", cwd=folder)
    assert done.returncode == 0
    found = names(folder / "deep")
    assert len(found) == len(paths) + 1
    for name in found[1:]:
        assert Path(name).parent == Path("out")
        assert Path(name).name.isprintable()
        assert Path(name).name[0] not in ".-"
        assert len(os.fsencode(Path(name).name)) < 200


def test_urls_that_fail_say_why_and_bodies_are_limited(folder: Path, photo: bytes) -> None:
    with Origin() as origin:
        urls = [origin.url("/image.png"), origin.url("/status/404"), origin.url("/bytes/1000"), origin.url("/endless")]
        urls.append("http://127.0.0.1:1/a.png")
        done = resize(*urls, "--out", "out", "--size", "32", "--json", "--max-bytes", "1MB", cwd=folder)
    found = records(done)
    errors = [record.get("error") for record in found]
    assert errors[:3] == [None, "HTTPStatusError", "UnsupportedFormatError"]
    assert errors[3] in ("BodyTooLargeError", "ImageLimitError")
    assert errors[4] == "ConnectError"
    assert found[0]["output"] == "out/image.png"
    assert [record["retryable"] for record in found[1:]] == [False, False, False, True]


def test_the_timeout_is_for_each_picture(folder: Path) -> None:
    with Origin() as origin:
        urls = [origin.url("/slow?seconds=600"), origin.url("/image.png")]
        done = resize(*urls, "--out", "out", "--size", "32", "--json", "--timeout", "0.5", cwd=folder)
    errors = [record.get("error") for record in records(done)]
    assert errors[0] in ("FetchTimeoutError", "OperationTimeoutError")
    assert errors[1] is None


def test_a_sheet_shows_the_results(folder: Path) -> None:
    done = resize("in", "--out", "out", "--size", "32", "--sheet", "sheet.png", "--quiet", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    page = decoded((folder / "sheet.png").read_bytes())
    assert page.shape == (2 * 36 + 4, 2 * 36 + 4, 3)
    first = decoded((folder / "out" / "a.jpg").read_bytes())
    assert np.array_equal(page[8:32, 4:36], first)  # 32 x 24 in the middle of a square of 32
    assert (page[:4] == 255).all()
    refused = resize("in", "--out", "o2", "--size", "32", "--sheet", "sheet.png", cwd=folder)
    assert refused.returncode == 4
    assert "--overwrite" in refused.stderr
    unwritable = resize("in/a.jpg", "--out", "o3", "--size", "32", "--sheet", "nowhere/sheet.png", cwd=folder)
    assert unwritable.returncode == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "o", "--size", "9"], "expected PATHs and URLs or --from FILE, got neither"),
        (["a", "--from", "b", "--out", "o", "--size", "9"], "got both"),
        (["a", "--size", "9"], "Missing option '--out'"),
        (["a", "--out", "o"], "nothing to do"),
        (["a", "--out", "o", "--size", "9", "--width", "9"], "--size is --width and --height in one"),
        (["a", "--out", "o", "--size", "0"], "expected pixels above 0"),
        (["a", "--out", "o", "--size", "9999999"], "must be between 1 and 1000000"),
        (["a", "--out", "o", "--size", "9", "--background", "red-ish"], "expected a colour such as"),
        (["a", "--out", "o", "--size", "9", "--json", "--sha256", "-"], "both want standard output"),
        (["a", "--out", "o", "--size", "9", "--kernel", "bell"], "'bell' is not one of"),
        (["a", "--out", "o", "--size", "9", "--quality", "101"], "101 is not in the range"),
    ],
)
def test_a_wrong_command_line_is_told_so(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = resize(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert names(tmp_path) == []


def test_what_cannot_be_read_or_written_has_its_exit_code(folder: Path) -> None:
    done = resize("--from", "missing", "--out", "out", "--size", "9", cwd=folder)
    assert (done.returncode, done.stderr) == (3, "offloop image: missing: No such file or directory\n")
    done = resize("in", "--out", "in/a.jpg", "--size", "9", cwd=folder)
    assert (done.returncode, done.stderr) == (4, "offloop image: in/a.jpg: File exists\n")
    done = resize("in", "--out", "/proc/nowhere", "--size", "9", cwd=folder)
    assert done.returncode == 4
    done = resize("in", "--out", "out", "--size", "9", "--sha256", "nowhere/SUMS", cwd=folder)
    assert done.returncode == 4


def test_a_full_disk_ends_the_run(folder: Path) -> None:
    limited = (
        f"ulimit -f 1; exec {sys.executable} -m offloop image resize in --out out --size 9000x100 --format png --json"
    )
    program = subprocess.run(["bash", "-c", limited], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert program.returncode == 4
    assert "offloop image: out: File too large" in program.stderr


def test_interrupted_it_writes_what_is_done_and_leaves_nothing_half_made(folder: Path) -> None:
    with Origin() as origin:
        slow = [origin.url(f"/slow?seconds=600&n={number}") for number in range(3)]
        command = [*IMAGE, "resize", "in/a.jpg", *slow, "--out", "out", "--size", "32", "--json"]
        program = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            origin.wait_for(lambda stats: stats.in_progress == 3)
            deadline = time.monotonic() + 30
            while not (folder / "out" / "a.jpg").exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=30)
        finally:
            program.kill()
            program.wait()
        stats = origin.wait_for(lambda stats: stats.in_progress == 0)
    assert program.returncode == 130
    assert [json.loads(line)["source"] for line in out.splitlines()] == ["in/a.jpg"]
    assert "interrupted: the entries in flight have no record" in err
    assert stats.aborted_by_client == 3
    assert names(folder / "out") == ["a.jpg"]


def test_a_terminal_gets_a_progress_bar(folder: Path) -> None:
    with Origin() as origin:
        url = origin.url("/slow?seconds=0.3")
        command = [*IMAGE, "resize", url, "in/a.jpg", "--out", "out", "--size", "32", "--json"]
        assert b"/2 " in on_a_terminal(command, folder)


def on_a_terminal(command: list[str], cwd: Path) -> bytes:
    """What a program says on standard error when that is a terminal."""
    environment = {**ENVIRONMENT, "TERM": "xterm"}
    ours, its = pty.openpty()
    try:
        with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=its) as program:
            os.close(its)
            seen = b""
            with contextlib.suppress(OSError):  # EIO: the other end has closed
                while piece := os.read(ours, 65536):
                    seen += piece
            program.wait(30)
        return seen
    finally:
        os.close(ours)


PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "offloop", "image", "resize", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_length_of_the_list(folder: Path) -> None:
    (folder / "dot.png").write_bytes(encoded(natural(8, 8), "png"))

    def peak_kb(count: int, out: str) -> int:
        (folder / "list").write_text("dot.png\n" * count)
        arguments = ["--from", "list", "--out", out, "--width", "4", "--quiet"]
        command = [sys.executable, "-c", PEAK, *arguments]
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        assert len(names(folder / out)) == count
        return int(done.stdout)

    few = peak_kb(100, "few")
    assert peak_kb(2000, "many") - few < 16_000


# --- names ----------------------------------------------------------------------------------------------------------


def test_stems_are_safe() -> None:
    assert stem_of("a/b/c.d.jpg") == "c.d"
    assert stem_of("/x/.bashrc") == "bashrc"
    assert stem_of("--out.png") == "out"
    assert stem_of("..") == "picture"
    assert stem_of("a\nb\t.png") == "a_b_"
    assert stem_of("schöne Grüße.jpg") == "schöne Grüße"
    assert stem_of("bad\udcff.jpg") == "bad_"
    assert stem_of("http://h/a/b.php?file=/etc/passwd") == "b"
    assert stem_of("HTTPS://h") == "picture"
    assert stem_of("http://h/%2e%2e%2f") == "picture"
    assert len(stem_of("ü" * 300).encode()) <= 120


def test_each_name_is_given_once() -> None:
    names = Names()
    listed = ["a", "a-2", "a", "A", "a", "b", "a-2"]
    assert [names.claim(stem) for stem in listed] == ["a", "a-2", "a-3", "A-4", "a-5", "b", "a-2-2"]
    names.close()


# --- info -----------------------------------------------------------------------------------------------------------


def test_info_says_what_pictures_are(folder: Path) -> None:
    done = image("info", "in", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "in/a.jpg: jpeg 160x120, srgb, 8 bit",
        "in/below/a.png: png 90x60, srgb with alpha, 8 bit",
        "in/below/turned.txt: jpeg 80x40, srgb, 8 bit, orientation 6 (40x80 upright)",
        "in/below/w: webp 50x50, srgb, 8 bit",
    ]


def test_info_reports_what_cannot_be_read(folder: Path) -> None:
    done = image("info", "--json", "in/a.jpg", "in/notes.jpg", "missing", cwd=folder)
    assert done.returncode == 1
    good, none, missing = records(done)
    assert (good["width"], good["height"], good["format"], good["ok"]) == (160, 120, "jpeg", True)
    assert (none["error"], none["ok"]) == ("UnsupportedFormatError", False)
    assert missing["error"] == "FileNotFoundError"
    assert "offloop image: missing: No such file or directory" in done.stderr.splitlines()
    limited = image("info", "--max-pixels", "100", "in/a.jpg", cwd=folder)
    assert "160x120 pixels, max_pixels allows 100" in limited.stderr


def test_help_needs_no_image_library(tmp_path: Path) -> None:
    wall = "import sys\nclass Wall:\n  def find_spec(self, name, path=None, target=None):\n"
    wall += "    if name == 'offloop._image': raise ImportError(name)\nsys.meta_path.insert(0, Wall())\n"
    (tmp_path / "sitecustomize.py").write_text(wall)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    for arguments, code, words in (
        (["--help"], 0, "resize"),
        (["resize", "--help"], 0, "--sheet"),
        (["info", "--help"], 0, "--max-scans"),
        (["info", "a.jpg"], 1, "libjpeg-turbo"),
        (["resize", "a.jpg", "--out", "o", "--size", "9"], 1, "libjpeg-turbo"),
    ):
        done = subprocess.run([*IMAGE, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
