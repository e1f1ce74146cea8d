"""``offloop hash`` as a program, held against the real sha256sum: the same bytes out, the same lists in."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHA256SUM = shutil.which("sha256sum")

pytestmark = pytest.mark.skipif(SHA256SUM is None, reason="sha256sum is not installed")

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb", "COLUMNS": "120"}

Completed = subprocess.CompletedProcess[bytes]


def offloop_hash(*arguments: str | Path, cwd: Path, stdin: bytes = b"") -> Completed:
    return subprocess.run(
        [sys.executable, "-m", "offloop", "hash", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
    )


def sha256sum(*arguments: str | Path, cwd: Path, stdin: bytes = b"") -> Completed:
    return subprocess.run(
        ["sha256sum", *map(str, arguments)], cwd=cwd, input=stdin, capture_output=True, env=ENVIRONMENT, check=False
    )


def assert_the_same(ours: Completed, theirs: Completed) -> None:
    """The same output, exit code and messages, but for the name of the program."""
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr.replace(b"sha256sum: ", b"offloop hash: ")
    assert ours.returncode == theirs.returncode


NAMES = [
    "plain",
    "with space",
    "-dash",
    "--tag",
    "new\nline",
    "carriage\rreturn",
    "back\\slash",
    "caf\u00e9",
    os.fsdecode(b"not utf-8 \xff\xfe"),
    "*star",
    "#hash",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(name.encode("utf-8", "surrogateescape") * number * 50)
    (tmp_path / "large").write_bytes(os.urandom(3_000_000))
    return tmp_path


# --- printing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [[], ["--tag"], ["-z"], ["-b"], ["--tag", "-z"], ["-t"], ["-tb"], ["-bt"]], ids=" ".join
)
def test_digests_are_printed_as_sha256sum_prints_them(folder: Path, options: list[str]) -> None:
    arguments = [*options, "--", *NAMES, "large"]
    assert_the_same(offloop_hash(*arguments, cwd=folder), sha256sum(*arguments, cwd=folder))


def test_the_order_is_that_of_the_arguments_whatever_is_done_first(folder: Path) -> None:
    for number in range(200):
        (folder / f"small{number}").write_bytes(b"x" * number)
    arguments = [word for number in range(200) for word in ("large", f"small{number}")]
    assert_the_same(offloop_hash(*arguments, cwd=folder), sha256sum(*arguments, cwd=folder))


def test_what_cannot_be_read_is_reported_and_the_rest_is_hashed(folder: Path) -> None:
    arguments = ["plain", "missing", "large", ".", "no such\nfile", "it's", "a:b", "", "with space"]
    ours, theirs = offloop_hash(*arguments, cwd=folder), sha256sum(*arguments, cwd=folder)
    assert_the_same(ours, theirs)
    assert ours.returncode == 1
    assert b"offloop hash: missing: No such file or directory\n" in ours.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_reported(folder: Path) -> None:
    (folder / "secret").touch(mode=0)
    assert_the_same(offloop_hash("secret", cwd=folder), sha256sum("secret", cwd=folder))


@pytest.mark.parametrize("arguments", [[], ["-"], ["plain", "-", "large"], ["--tag"], ["-z", "-"]], ids=" ".join)
def test_standard_input_is_read_for_a_dash_or_no_name(folder: Path, arguments: list[str]) -> None:
    stdin = os.urandom(2_500_000)
    assert_the_same(offloop_hash(*arguments, cwd=folder, stdin=stdin), sha256sum(*arguments, cwd=folder, stdin=stdin))


def test_standard_input_goes_on_where_the_one_before_stopped(folder: Path) -> None:
    with (folder / "large").open("rb", buffering=0) as large:
        large.seek(1000)
        done = subprocess.run(
            [sys.executable, "-m", "offloop", "hash", "-"],
            stdin=large,
            capture_output=True,
            check=True,
            env=ENVIRONMENT,
        )
    expected = hashlib.sha256((folder / "large").read_bytes()[1000:]).hexdigest()
    assert done.stdout.decode() == f"{expected}  -\n"


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512"])
def test_other_algorithms_are_those_of_their_own_program(folder: Path, algorithm: str) -> None:
    program = shutil.which(f"{algorithm}sum")
    assert program is not None
    for option in ([], ["--tag"]):
        expected = subprocess.run([program, *option, "large", "plain"], cwd=folder, capture_output=True, check=True)
        assert offloop_hash("-a", algorithm, *option, "large", "plain", cwd=folder).stdout == expected.stdout


def test_folders_are_walked_in_the_order_of_their_names(folder: Path) -> None:
    for name in ("b/z", "b/a/x", "a.txt", "B/upper"):
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "tree/link").symlink_to("a.txt")
    (folder / "tree/loop").symlink_to(".")
    (folder / "tree/dangling").symlink_to("nowhere")
    os.mkfifo(folder / "tree/pipe")

    done = offloop_hash("-r", "tree", "plain", cwd=folder)

    names = [line.split(b"  ", 1)[1].decode() for line in done.stdout.splitlines()]
    assert names == ["tree/B/upper", "tree/a.txt", "tree/b/a/x", "tree/b/z", "tree/link", "plain"]
    assert done.stderr == b"offloop hash: tree/dangling: No such file or directory\n"
    assert done.returncode == 1
    assert sha256sum("--check", "--quiet", cwd=folder, stdin=done.stdout).returncode == 0


def test_a_folder_may_be_nested_deeper_than_python_calls(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    try:
        done = offloop_hash("-r", ".", cwd=tmp_path)
        assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 1, b"")
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil's would recurse too deep


def test_json_has_one_object_a_file_with_its_error(folder: Path) -> None:
    done = offloop_hash("--json", "plain", "missing", os.fsdecode(b"not utf-8 \xff\xfe"), cwd=folder)
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert first == {"path": "plain", "algorithm": "sha256", "digest": hashlib.sha256(b"").hexdigest()}
    assert second == {"path": "missing", "algorithm": "sha256", "error": "No such file or directory"}
    assert os.fsencode(third["path"]) == b"not utf-8 \xff\xfe"
    assert done.returncode == 1


# --- checking -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(folder: Path) -> Path:
    """The folder with lists: all is well in GOOD; in BAD there is one of everything."""
    good = sha256sum("--", *NAMES, "large", cwd=folder).stdout
    (folder / "GOOD").write_bytes(good)
    wrong = hashlib.sha256(b"something else").hexdigest()
    bad = (
        good
        + f"{wrong}  plain\n{wrong}  missing\n\\{wrong}  miss\\ning\nno line\n# comment\n\n{wrong} *large\n".encode()
    )
    (folder / "BAD").write_bytes(bad)
    (folder / "TAGGED").write_bytes(sha256sum("--tag", "--", *NAMES, cwd=folder).stdout)
    (folder / "MISSING").write_text(f"{wrong}  missing\n")
    (folder / "NOTHING").write_text("# no line at all\n")
    return folder


CHECKS = [
    ["GOOD"],
    ["BAD"],
    ["TAGGED"],
    ["MISSING"],
    ["NOTHING"],
    ["--quiet", "GOOD"],
    ["--quiet", "BAD"],
    ["--status", "GOOD"],
    ["--status", "BAD"],
    ["--warn", "BAD"],
    ["--strict", "GOOD"],
    ["--strict", "BAD"],
    ["--ignore-missing", "BAD"],
    ["--ignore-missing", "MISSING"],
    ["--ignore-missing", "--quiet", "--warn", "--strict", "BAD"],
    ["--warn", "--quiet", "BAD"],
    ["--quiet", "--status", "BAD"],
    ["--status", "--warn", "BAD"],
    ["GOOD", "BAD", "NOTHING"],
]


@pytest.mark.parametrize("arguments", CHECKS, ids=" ".join)
def test_lists_are_checked_as_sha256sum_checks_them(listed: Path, arguments: list[str]) -> None:
    assert_the_same(offloop_hash("-c", *arguments, cwd=listed), sha256sum("-c", *arguments, cwd=listed))


def test_a_list_may_come_from_standard_input_and_may_not_name_it(listed: Path) -> None:
    stdin = (listed / "GOOD").read_bytes() + b"0" * 64 + b"  -\n"
    ours = offloop_hash("-c", "--warn", "-", cwd=listed, stdin=stdin)
    assert_the_same(ours, sha256sum("-c", "--warn", "-", cwd=listed, stdin=stdin))
    assert b"improperly formatted" in ours.stderr


def test_what_is_printed_here_is_accepted_there_and_the_other_way_round(folder: Path) -> None:
    for option in ([], ["--tag"], ["-b"]):
        ours = offloop_hash(*option, "--", *NAMES, cwd=folder).stdout
        assert sha256sum("-c", "--strict", "--quiet", cwd=folder, stdin=ours).returncode == 0
        theirs = sha256sum(*option, "--", *NAMES, cwd=folder).stdout
        assert offloop_hash("-c", "--strict", "--quiet", cwd=folder, stdin=theirs).returncode == 0


def test_nul_lines_can_be_checked_as_well(folder: Path) -> None:
    zero = sha256sum("-z", "--", *NAMES, cwd=folder).stdout
    done = offloop_hash("-c", "-z", "--strict", "--quiet", cwd=folder, stdin=zero)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_list_that_cannot_be_read_is_exit_code_3(listed: Path) -> None:
    for name in ("no-list", "."):
        done = offloop_hash("-c", "GOOD", name, cwd=listed)
        assert done.returncode == 3
        assert done.stderr.startswith(f"offloop hash: {name}: ".encode())


def test_json_of_a_check_says_what_was_expected_and_what_came(listed: Path) -> None:
    done = offloop_hash("-c", "--json", "BAD", cwd=listed)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    by_status = {record["status"]: record for record in records}
    assert set(by_status) == {"ok", "mismatch", "unreadable"}
    assert by_status["mismatch"]["digest"] != by_status["mismatch"]["expected"]
    assert by_status["unreadable"]["error"] == "No such file or directory"


# --- usage and faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no-such-option"], "No such option"),
        (["-a", "sha257", "plain"], "got 'sha257'"),
        (["-c", "--tag", "plain"], "the --tag option is meaningless when verifying checksums"),
        (["--quiet", "plain"], "the --quiet option is meaningful only when verifying checksums"),
        (["--strict", "plain"], "the --strict option is meaningful only when verifying checksums"),
        (["--json", "--tag", "plain"], "--json and --tag are two formats"),
        (["-c", "-b", "plain"], "the --binary and --text options are meaningless when verifying checksums"),
        (["-c", "-t", "plain"], "the --binary and --text options are meaningless when verifying checksums"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_says_why(folder: Path, arguments: list[str], words: str) -> None:
    done = offloop_hash(*arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == b""
    assert words in " ".join(done.stderr.decode().split())


def test_a_full_disk_is_exit_code_4(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "offloop", "hash", "plain"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr == b"offloop hash: cannot write the output: No space left on device\n"


def test_a_reader_that_leaves_ends_the_program_without_a_word(folder: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "offloop", "hash", "plain"],
            cwd=folder,
            stdout=write_end,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (4, b"")


CLOSED = [
    (">&-", ["plain"], 4, b"", b"offloop hash: cannot write the output: Bad file descriptor\n"),
    ("<&-", ["-", "plain"], 1, b"plain", b"offloop hash: -: Bad file descriptor\n"),
    ("2>&-", ["missing", "plain"], 1, b"plain", b""),
]


@pytest.mark.parametrize(("closed", "names", "code", "said", "complaint"), CLOSED, ids=[case[0] for case in CLOSED])
def test_a_stream_that_the_caller_closed_is_not_taken_for_another_file(
    folder: Path, closed: str, names: list[str], code: int, said: bytes, complaint: bytes
) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "offloop", "hash", *names]
    done = subprocess.run(command, cwd=folder, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, complaint)
    assert [line.split(b"  ", 1)[1] for line in done.stdout.splitlines()] == ([said] if said else [])


# The signal goes to another thread and interrupts no system call of the main one: as if it had come just before it.
SIGNALLED_ELSEWHERE = """
import signal, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
from offloop.cli import main
sys.exit(main(["hash", "plain", "-"]))
"""


@pytest.mark.parametrize(
    "how", [["-m", "offloop", "hash", "plain", "-"], ["-c", SIGNALLED_ELSEWHERE]], ids=["in", "before"]
)
def test_ctrl_c_is_exit_code_130_even_while_standard_input_is_awaited(folder: Path, how: list[str]) -> None:
    program = subprocess.Popen(
        [sys.executable, *how],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert program.stdin is not None
    # More than a pipe holds: once this has been taken, the program is in its read of standard input.
    program.stdin.write(bytes(4_000_000))
    program.stdin.flush()
    program.send_signal(signal.SIGINT)
    try:
        while program.poll() is None:  # not communicate: that would close its standard input
            time.sleep(0.005)
    finally:
        program.kill()
        _, stderr = program.communicate()
    assert (program.returncode, stderr) == (130, b"offloop hash: interrupted\n")


def test_lines_appear_at_once_on_a_terminal(folder: Path) -> None:
    leader, follower = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "offloop", "hash", "plain", "-"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=follower,
        env=ENVIRONMENT,
    )
    os.close(follower)
    try:
        line = b""
        while not line.endswith(b"\n"):  # comes although the program still waits for its input
            line += os.read(leader, 1000)
        assert line.rstrip().endswith(b"  plain")
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(60) == 0
    finally:
        program.kill()
        program.wait()
        os.close(leader)


def test_hashing_files_imports_neither_fetch_nor_a_terminal_library(folder: Path) -> None:
    script = """
import sys
from offloop.cli import main
code = main(["hash", "plain"])
print(code, sorted({"rich", "offloop.fetch", "offloop.cli.fetch"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_version_is_printed() -> None:
    done = subprocess.run([sys.executable, "-m", "offloop", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("offloop ")
    assert done.stdout.split()[1][0].isdigit()


def test_help_names_the_commands_and_the_exit_codes() -> None:
    done = subprocess.run([sys.executable, "-m", "offloop", "--help"], capture_output=True, text=True, check=True)
    for word in ("hash", "fetch", "doctor", "130", "--min-success"):
        assert word in done.stdout
