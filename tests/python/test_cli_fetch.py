"""``offloop fetch`` and ``offloop doctor`` as programs, on the embedded origin."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import offloop
from offloop.cli.in_order import InOrder
from offloop.cli.listing import MAX_LINE_BYTES
from offloop.cli.record import Record
from offloop.cli.seen import Seen
from offloop.sums import SumEntry, SumsReader
from offloop.testing import Origin, body_sha256

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb", "COLUMNS": "120"}
FETCH = [sys.executable, "-m", "offloop", "fetch"]

Completed = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def shared_origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def origin(shared_origin: Origin) -> Origin:
    shared_origin.wait_for(lambda stats: stats.open_connections == 0)
    shared_origin.reset_stats()
    return shared_origin


def fetch(*arguments: str | Path, stdin: str = "", cwd: Path | None = None) -> Completed:
    return subprocess.run(
        [*FETCH, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=ENVIRONMENT,
        timeout=120,
        cwd=cwd,
        check=False,
    )


def records(done: Completed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def body_urls(origin: Origin, count: int, size: int = 1000) -> dict[str, str]:
    """URLs and the digests of their bodies."""
    return {origin.url(f"/bytes/{size}?seed={seed}"): body_sha256(size, str(seed)) for seed in range(count)}


@contextlib.contextmanager
def ends(program: subprocess.Popen[Any]) -> Iterator[None]:
    """Leave no process behind when a test fails halfway."""
    try:
        yield
    finally:
        if program.poll() is None:
            program.kill()
        program.communicate()


# --- results --------------------------------------------------------------------------------------------------------


def test_every_url_has_a_record_in_the_order_of_the_listing(origin: Origin) -> None:
    urls = body_urls(origin, 300)
    slow = origin.url("/slow?seconds=0.3&bytes=10")
    done = fetch("--json", slow, *urls)
    found = records(done)
    assert done.returncode == 0
    assert [record["index"] for record in found] == list(range(301))
    assert [record["url"] for record in found] == [slow, *urls]
    assert [record["sha256"] for record in found] == [body_sha256(10), *urls.values()]
    assert {record["status"] for record in found} == {200}
    assert found[1]["size"] == 1000
    assert found[1]["elapsed"] > 0


def test_large_bodies_redirects_and_gzip_are_hashed_as_decoded(origin: Origin) -> None:
    done = fetch(
        "--json",
        origin.url("/bytes/30000000?seed=1"),
        origin.url("/chunked/1000000?seed=2"),
        origin.url("/gzip/1000000?seed=3"),
        origin.url("/redirect/3"),
    )
    found = records(done)
    assert [record["sha256"] for record in found[:3]] == [
        body_sha256(30_000_000, 1),
        body_sha256(1_000_000, 2),
        body_sha256(1_000_000, 3),
    ]
    assert found[2]["size"] == 1_000_000
    assert found[3]["final_url"] == origin.url("/")


def test_a_url_listed_twice_is_fetched_once_and_reported_twice(origin: Origin) -> None:
    good, slow, bad = origin.url("/bytes/10"), origin.url("/slow?seconds=0.2"), origin.url("/status/404")
    listing = [good, slow, bad] * 50
    done = fetch("--json", "--max-concurrent", "2", *listing)
    found = records(done)
    assert [record["url"] for record in found] == listing
    assert {record["sha256"] for record in found if record["url"] == good} == {body_sha256(10)}
    assert {record["ok"] for record in found if record["url"] == bad} == {False}
    assert origin.stats().targets == {"/bytes/10": 1, "/slow?seconds=0.2": 1, "/status/404": 1}


def test_a_listing_is_read_from_a_file_with_its_comments_and_spaces(origin: Origin, tmp_path: Path) -> None:
    (first, digest), (second, other) = body_urls(origin, 2).items()
    (tmp_path / "urls").write_text(f"# a comment\n\n  {first}  \r\n\t\n{second}")
    done = fetch("--from", "urls", "--json", cwd=tmp_path)
    assert [record["sha256"] for record in records(done)] == [digest, other]


def test_a_long_listing_from_a_pipe_is_complete(origin: Origin) -> None:
    urls = body_urls(origin, 3000, size=100)
    done = fetch("--from", "-", "--json", stdin="".join(f"{url}\n" for url in urls))
    assert done.returncode == 0
    assert {record["url"]: record["sha256"] for record in records(done)} == urls
    assert origin.stats().requests == 3000


def test_the_limit_of_concurrent_transfers_holds(origin: Origin) -> None:
    urls = [origin.url(f"/slow?seconds=0.05&n={number}") for number in range(20)]
    assert fetch("--quiet", "--max-concurrent", "3", *urls).returncode == 0
    assert origin.stats().max_concurrent == 3


def test_sums_lines_have_urls_as_names(origin: Origin, tmp_path: Path) -> None:
    urls = body_urls(origin, 5)
    done = fetch("--sums", "SUMS", *urls, origin.url("/status/500"), cwd=tmp_path)
    assert done.returncode == 1
    with (tmp_path / "SUMS").open("rb") as file:
        entries = [entry for entry in SumsReader(file) if isinstance(entry, SumEntry)]
    assert {entry.name.decode(): entry.digest for entry in entries} == urls
    to_stdout = fetch("--sums", "-", *urls)
    assert to_stdout.stdout == (tmp_path / "SUMS").read_text()


def test_the_table_shows_results_and_failures_and_the_totals_go_to_standard_error(origin: Origin) -> None:
    done = fetch(origin.url("/bytes/1000"), origin.url("/status/404"), "nonsense")
    assert body_sha256(1000) in done.stdout
    assert "HTTPStatusError" in done.stdout
    assert "InvalidURLError" in done.stdout
    assert done.stderr.startswith("1 ok, 2 failed; 1.0 kB in ")
    assert "1 HTTPStatusError" in done.stderr


def test_a_long_table_is_cut_and_still_shows_later_failures(origin: Origin) -> None:
    done = fetch(*body_urls(origin, 100), origin.url("/status/418"))
    assert "/status/418" in done.stdout
    assert "... and 60 more" in done.stdout


def test_quiet_prints_nothing_but_what_was_asked_for(origin: Origin) -> None:
    url = origin.url("/bytes/10")
    done = fetch("--quiet", url, "nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    done = fetch("--quiet", "--sums", "-", url)
    assert (done.stdout, done.stderr) == (f"{body_sha256(10)}  {url}\n", "")


def test_a_terminal_gets_a_progress_bar_and_a_pipe_does_not(origin: Origin) -> None:
    url = origin.url("/slow?seconds=0.3")
    assert "/s" not in fetch("--json", url).stderr.splitlines()[0].split(";")[0]
    assert b"0/1" in on_a_terminal("--json", url, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("option", [["--json"], ["--sums", "-"]], ids=" ".join)
def test_on_one_terminal_no_bar_is_drawn_across_the_lines(origin: Origin, option: list[str]) -> None:
    seen = on_a_terminal(*option, origin.url("/slow?seconds=0.3&bytes=10"))
    assert b"\x1b" not in seen
    assert body_sha256(10).encode() in seen.splitlines()[0]


def test_a_narrow_table_says_where_the_whole_digests_are(origin: Origin) -> None:
    seen = on_a_terminal(origin.url("/bytes/1000"))
    assert body_sha256(1000)[:16].encode() + b"..." in seen
    assert b"whole digests: --json, --sums -" in seen


def on_a_terminal(*arguments: str, stdout: int | None = None) -> bytes:
    """What a terminal of 120 columns gets of a run that ends well: standard error, and standard output if not given."""
    leader, follower = pty.openpty()
    program = subprocess.Popen(
        [*FETCH, *arguments],
        stdout=follower if stdout is None else stdout,
        stderr=follower,
        env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 4096):
            seen += piece
    except OSError:  # how a terminal says that nobody holds the other end any more
        pass
    finally:
        os.close(leader)
    assert program.wait(60) == 0
    return seen


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "options", "error"),
    [
        ("/status/404", [], "HTTPStatusError"),
        ("/hang", ["--timeout", "0.3"], "FetchTimeoutError"),
        ("/short?claim=2000&send=1000", [], "IncompleteBodyError"),
        ("/chunked/1000?cut=500", [], "IncompleteBodyError"),
        ("/redirect-loop", [], "TooManyRedirectsError"),
        ("/redirect/3", ["--max-redirects", "2"], "TooManyRedirectsError"),
        ("/bytes/100000", ["--max-body", "99kB"], "BodyTooLargeError"),
        ("/gzip-bomb/100000000", ["--max-body", "10MB"], "BodyTooLargeError"),
        ("/endless", ["--max-body", "5MB"], "BodyTooLargeError"),
        ("/gzip-broken", [], "ContentDecodingError"),
        ("/gzip-broken?how=plain", [], "ContentDecodingError"),
    ],
)
def test_a_fault_of_the_origin_is_a_record_of_its_class(
    origin: Origin, path: str, options: list[str], error: str
) -> None:
    done = fetch("--json", *options, origin.url(path), origin.url("/"))
    failed, good = records(done)
    assert (failed["ok"], failed["error"]) == (False, error)
    assert failed["url"] in failed["message"]
    assert "sha256" not in failed
    assert good["ok"]
    assert done.returncode == 1


@pytest.mark.parametrize("path", ["/reset?after=100000", "/reset?after=-1", "/close", "/garbage"])
def test_a_broken_connection_is_a_record(origin: Origin, path: str) -> None:
    failed, good = records(fetch("--json", origin.url(path), origin.url("/")))
    assert not failed["ok"]
    assert failed["code"] != "Internal"
    assert good["ok"]


BAD_URLS = ["nonsense", "ftp://host/", "http://", "http://[::1", "http://host:99999/", "http://ho st/", "://", "\udcff"]


def test_bad_urls_in_a_listing_are_records_and_no_crash(origin: Origin) -> None:
    listing = "\n".join([*BAD_URLS, origin.url("/")])
    done = subprocess.run(
        [*FETCH, "--json", "--from", "-"],
        input=os.fsencode(listing),
        capture_output=True,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
    )
    *bad, good = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["url"] for record in bad] == BAD_URLS
    assert {record["error"] for record in bad} == {"InvalidURLError"}
    assert good["ok"]
    assert done.returncode == 1


def test_a_line_without_an_end_is_a_record_and_bounded(origin: Origin) -> None:
    done = fetch("--json", "--from", "-", stdin="http://h/" + "x" * (5 * MAX_LINE_BYTES) + "\n" + origin.url("/"))
    bad, good = records(done)
    assert bad["error"] == "InvalidURLError"
    assert len(bad["url"]) < 1000
    assert good["ok"]


def test_an_untrusted_certificate_is_refused_unless_it_is_given() -> None:
    with Origin(tls=True) as origin:
        url = origin.url("/bytes/1000")
        assert records(fetch("--json", url))[0]["error"] == "TLSError"
        assert records(fetch("--json", "--ca-file", origin.ca_file or "", url))[0]["sha256"] == body_sha256(1000)
        assert records(fetch("--json", "--no-verify-tls", url))[0]["ok"]


def test_every_option_of_the_fetcher_has_its_name_here_as_well() -> None:
    from offloop.cli.fetch import command
    from offloop.fetch import Fetcher

    names = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    options = {"--" + name.replace("_", "-") for name in inspect.signature(Fetcher).parameters}
    assert options - names == set()


def test_every_option_of_the_fetcher_has_its_name_in_cpp_as_well() -> None:
    from offloop.fetch import Fetcher

    header = Path(__file__).resolve().parents[2] / "include" / "offloop" / "fetch" / "options.h"
    (body,) = re.findall(r"struct FetcherOptions \{(.*?)\n\};", header.read_text(), re.DOTALL)
    members = re.findall(r"(?m)^  [\w:<>]+ (\w+)(?: = .*)?;", body)
    assert members == list(inspect.signature(Fetcher).parameters)


def test_a_status_is_a_failure_unless_that_is_turned_off(origin: Origin) -> None:
    done = fetch("--json", "--no-fail-on-status", origin.url("/status/404"))
    (record,) = records(done)
    assert (record["ok"], record["status"], len(record["sha256"]), done.returncode) == (True, 404, 64, 0)


def test_headers_and_the_name_of_the_client_are_sent(origin: Origin) -> None:
    def echo(probe: str, agent: str) -> str:
        """The digest of the request as the origin saw it."""
        done = fetch("--json", "--header", f"X-Probe: {probe}", "--user-agent", agent, origin.url("/headers"))
        return str(records(done)[0]["sha256"])

    assert echo("17", "probe/1") == echo("17", "probe/1")
    assert len({echo("17", "probe/1"), echo("18", "probe/1"), echo("17", "probe/2")}) == 3


# --- exit codes -----------------------------------------------------------------------------------------------------


def test_exit_codes_say_how_much_succeeded(origin: Origin) -> None:
    good = list(body_urls(origin, 9))
    bad = origin.url("/status/404")
    assert fetch("--quiet", *good).returncode == 0
    assert fetch("--quiet", *good, bad).returncode == 1
    assert fetch("--quiet", "--min-success", "90%", *good, bad).returncode == 1
    assert fetch("--quiet", "--min-success", "0.91", *good, bad).returncode == 5
    assert fetch("--quiet", "--min-success", "100%", *good).returncode == 0


def test_an_empty_listing_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("# nothing\n")
    done = fetch("--from", "urls", "--json", "--min-success", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected either URLs or --from FILE, got neither"),
        (["http://h/", "--from", "-"], "expected either URLs or --from FILE, got both"),
        (["http://h/", "--json", "--sums", "-"], "both want standard output"),
        (["http://h/", "--min-success", "1.5"], "got '1.5'"),
        (["http://h/", "--max-body", "many"], "got 'many'"),
        (["http://h/", "--timeout", "0"], "greater than 0, got '0'"),
        (["http://h/", "--timeout", "nan"], "greater than 0, got 'nan'"),
        (["http://h/", "--max-concurrent", "0"], "0 is not in the range"),
        (["http://h/", "--header", "no-colon"], "expected NAME: VALUE, got 'no-colon'"),
        (["http://h/", "--no-such-option"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_says_why(arguments: list[str], words: str) -> None:
    done = fetch(*arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_a_listing_that_cannot_be_read_is_exit_code_3(tmp_path: Path) -> None:
    done = fetch("--from", "no listing", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "offloop fetch: 'no listing': No such file or directory\n")
    done = fetch("--from", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "offloop fetch: .: Is a directory\n")


def test_output_that_cannot_be_written_is_exit_code_4(origin: Origin, tmp_path: Path) -> None:
    url = origin.url("/")
    done = fetch("--sums", "no/such/folder", url, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (4, "offloop fetch: no/such/folder: No such file or directory\n")
    assert origin.stats().requests == 0  # found out before anything was fetched
    assert fetch("--sums", "/dev/full", "--quiet", *body_urls(origin, 200)).returncode == 4
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*FETCH, "--json", "--quiet", url], stdout=full, env=ENVIRONMENT, check=False)
    assert done.returncode == 4


def test_ctrl_c_stops_cleanly_keeps_what_is_done_and_is_exit_code_130(origin: Origin, tmp_path: Path) -> None:
    urls = body_urls(origin, 3)
    hanging = [origin.url(f"/hang?{number}") for number in range(4)]
    program = subprocess.Popen(
        [*FETCH, "--sums", "SUMS", "--timeout", "600", *urls, *hanging],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with ends(program):
        origin.wait_for(lambda stats: stats.in_progress == 4 and stats.requests == 7, timeout=30)
        program.send_signal(signal.SIGINT)
        _, stderr = program.communicate(timeout=30)
    assert program.returncode == 130
    assert "interrupted" in stderr
    lines = (tmp_path / "SUMS").read_text().splitlines()
    assert lines == [f"{digest}  {url}" for url, digest in urls.items()]
    assert origin.wait_for(lambda stats: stats.open_connections == 0).aborted_by_client == 4


def test_ctrl_c_works_while_the_listing_is_awaited(origin: Origin) -> None:
    program = subprocess.Popen(
        [*FETCH, "--json", "--from", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert program.stdin is not None
    url, digest = next(iter(body_urls(origin, 1).items()))
    with ends(program):
        program.stdin.write(f"{url}\n".encode())
        program.stdin.flush()  # and the pipe stays open
        origin.wait_for(lambda stats: stats.requests == 1 and stats.in_progress == 0, timeout=30)
        program.send_signal(signal.SIGINT)
        while program.poll() is None:  # not communicate: that would close its standard input
            time.sleep(0.005)
        stdout, _ = program.communicate(timeout=30)
    assert program.returncode == 130
    assert stdout == b"" or json.loads(stdout)["sha256"] == digest


# --- the parts that keep memory flat ---------------------------------------------------------------------------------


def test_results_are_remembered_beyond_what_memory_may_hold() -> None:
    seen = Seen(in_memory=10)
    for number in range(1000):
        seen.put(Record(number, f"http://h/{number}", sha256=f"{number:064x}", size=number))
    for number in range(1000):
        record = seen.get(f"http://h/{number}")
        assert record is not None
        assert (record.index, record.sha256, record.size) == (number, f"{number:064x}", number)
    assert seen.get("http://h/1000") is None
    seen.close()
    assert seen.get("http://h/1") is None


def test_records_come_in_order_while_the_gap_is_small() -> None:
    written: list[int] = []
    ordered = InOrder(lambda record: written.append(record.index), max_held=5)
    for index in (2, 1, 0, 4, 5, 3):
        ordered.push(Record(index, "u"))
    assert written == [0, 1, 2, 3, 4, 5]


def test_a_record_that_is_too_late_holds_up_only_so_many() -> None:
    written: list[int] = []
    ordered = InOrder(lambda record: written.append(record.index), max_held=5)
    for index in range(1, 10):
        ordered.push(Record(index, "u"))
    assert written == [1, 2, 3, 4, 5, 6, 7, 8, 9][: len(written)]
    assert len(written) >= 4
    ordered.push(Record(0, "u"))
    ordered.finish()
    assert sorted(written) == list(range(10))
    assert len(written) == 10


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_the_doctor_finds_this_installation_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offloop", "doctor", "--json"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    report = json.loads(done.stdout)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert (done.returncode, report["ok"]) == (0, True)
    assert {"versions", "machine", "native", "extras"} <= set(report)
    assert set(report["native"]) == set(re.findall(r"``([a-z_]+)``", offloop.build_info.__doc__ or ""))
    for_people = subprocess.run(
        [sys.executable, "-m", "offloop", "doctor"], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert for_people.returncode == 0
    assert "everything works" in for_people.stdout
    # No CPU has the kernels of both architectures: what was not run must not look as if it had passed.
    assert {"ok", "skipped"} == set(re.findall(r"(?m)^  (\w+) +hash with OFFLOOP_CPU=", for_people.stdout))


def test_the_doctor_reports_what_is_broken() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offloop", "doctor", "--json"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "OFFLOOP_CPU": "no-such-kernel", "OFFLOOP_THREADS": "none"},
        check=False,
    )
    assert done.returncode in (0, 1)  # whether that is an error is the core's decision: that there is a report is ours
    assert json.loads(done.stdout)["machine"]["OFFLOOP_CPU"] == "no-such-kernel"
