"""What `offloop bench` says of its results: sentences, report, claims, and the comparison of two runs."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from bench_helpers import document_of, measured_case

from offloop.bench import claims, document, html, markdown, words
from offloop.bench.compare import Change, Verdict, compare
from offloop.bench.figures import BEST, CLASSIC, NATIVE
from offloop.bench.table import COLUMNS, SPARED

FIVE = [1.00, 1.01, 0.99, 1.02, 0.98]


def times(factor: float) -> list[float]:
    return [factor * value for value in FIVE]


def results(**factors: float) -> document.Document:
    return document_of([measured_case("100 x 1 KB", {name: times(factor) for name, factor in factors.items()})])


# ---- results.json ----------------------------------------------------------------------------------------------------


def test_the_schema_takes_what_is_written_and_nothing_else(tmp_path: Path) -> None:
    validate = fastjsonschema.compile(json.loads(document.SCHEMA.read_text()))
    document.write(results(inline=2, each=1, native=1), tmp_path)
    found = document.read(tmp_path)
    validate(found)
    less = {name: value for name, value in found.items() if name != "noise"}
    for broken in ({**found, "schema": 3}, {**found, "more": 1}, less):
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            validate(broken)


def test_every_field_of_the_schema_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bench-results.md").read_text()
    schema = json.loads(document.SCHEMA.read_text())
    names = set(schema["properties"])
    for part in ("case", "contender", "open_loop"):
        names |= set(schema["definitions"][part]["properties"])
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_results_of_the_schema_before_can_still_be_read_told_and_compared(tmp_path: Path) -> None:
    old = results(inline=2, each=1)
    old["schema"] = 1
    old["noise"] = {
        "load_before": 1.5, "load_after": 2.0, "steal_share": 0.0, "reference_spread": 1.0,
        "warnings": ["1.5 tasks were runnable before the start"],
    }  # fmt: skip
    document.write(old, tmp_path)
    found = document.read(tmp_path)
    assert "load before 1.50, after 2.00." in markdown.tables(found)
    assert "load_before" in html.page(found)
    assert "**The machine was noisy: 1.5 tasks were runnable before the start.**" in claims.page(found)
    differences = compare(found, results(inline=2, each=1)).differences
    assert differences == ["the old run was noisy: 1.5 tasks were runnable before the start"]


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"busy_before": 0.031, "busy_after": 0.5}, "CPUs that others kept busy: 0.03 before, 0.50 after"),
        ({"busy_before": 0.0, "busy_after": None}, "CPUs that others kept busy: 0.00 before"),
        ({"busy_before": None, "busy_after": None}, "CPUs that others kept busy: not known"),
    ],
)
def test_what_others_did_is_told_as_far_as_it_is_known(noise: dict[str, float | None], said: str) -> None:
    assert words.noise(noise) == said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "expected JSON"),
        ("[]", "expected results of schema 1 or 2, got list"),
        ('{"schema": 9}', "schema 1 or 2, got 9"),
    ],
)
def test_a_file_that_is_no_results_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=problem):
        document.read(tmp_path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document.write_text(tmp_path / "file", "old")

    def full(source: str, target: str) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(document.os, "replace", full)
    with pytest.raises(OSError, match="full"):
        document.write_text(tmp_path / "file", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


# ---- sentences -------------------------------------------------------------------------------------------------------


def test_speedups_pair_the_sides_as_they_say() -> None:
    case = measured_case("x", {"inline": times(6), "threads": times(3), "each": times(2), "native": times(1)})
    found = {one["kind"]: (one["slow"], one["fast"], one["ratio"]["median"]) for one in case["speedups"]}
    assert found == {
        CLASSIC: ("inline", "each", pytest.approx(3)),
        BEST: ("threads", "each", pytest.approx(1.5)),
        NATIVE: ("native", "each", pytest.approx(0.5)),
    }


def test_the_summary_says_where_the_hybrid_wins_and_where_it_loses() -> None:
    won = measured_case("100 x 10 MB", {"inline": times(8), "each": times(2), "native": times(2.5)})
    lost = measured_case("100 x 1 KB", {"inline": times(1), "each": times(2), "native": times(2.5)})
    said = document_of([won, lost])["sentences"]
    # (4 x 0.5) ** (1 / 2)
    assert any(re.match(r"hash: hybrid against asyncio, both as .*: 1\.41x .* over 2 cases", one) for one in said)
    assert [one for one in said if "loses" in one] == [
        "The hybrid loses at hash, 100 x 1 KB: each against inline: 0.50x (0.50 - 0.50)."
    ]
    assert not any("lost no case" in one for one in said)
    assert (
        "The hybrid lost no case that was measured, neither against asyncio nor against native."
        in (document_of([won])["sentences"])
    )


def test_the_summary_does_not_call_a_tie_a_win() -> None:
    uneven = measured_case("x", {"inline": [1.2, 1.0, 0.9, 1.1, 1.3], "each": [1.0] * 5})
    said = document_of([uneven])["sentences"]
    assert any(one.startswith("No gain is shown at hash, x: each against inline: 1.10x") for one in said)


def test_gaps_failures_stalls_and_noise_are_named() -> None:
    case = measured_case("x", {"inline": times(2), "each": times(1)})
    case["contenders"][1].update(status="wrong", detail="answer 0 is 'a', expected 'b'", time=None)
    said = document_of([case], noise={"warnings": ["so much"]})["sentences"]
    assert "WRONG: each at hash, x: answer 0 is 'a', expected 'b'; it has no figures." in said
    assert "Left out: absent: it is not installed." in said
    assert "The machine was noisy: so much." in said
    assert any(one.startswith("inline blocked the loop for up to 2.04 s") for one in said)


def test_each_figure_of_a_row_stands_in_its_column() -> None:
    row = results(each=1)["cases"][0]["contenders"][0]
    row.update(
        time={"median": 1.0, "low": 0.5, "high": 2.0}, items_per_second=300.0, gb_per_second=4.0,
        latency={"p50": 5e-3, "p99": 6e-3, "p999": 7e-3, "items": 100, "histogram": []},
        stall={"longest": 8e-3, "p99": 9e-3, "looks": 10}, cpu_seconds_per_item=1e-2, peak_bytes=11_000_000,
    )  # fmt: skip
    said = dict(zip(COLUMNS[1:], words.figures(row), strict=True))
    assert said == {
        "burst": "1 s", "interval": "500 ms - 2 s", "items/s": "300/s", "GB/s": "4", "p50": "5 ms", "p99": "6 ms",
        "p99.9": "7 ms", "stall max": "8 ms", "stall p99": "9 ms", "CPU/item": "10 ms", "memory": "11 MB",
    }  # fmt: skip
    cells = re.findall(r"<td>(.*?)</td>", html._row(row))
    assert cells == [row["name"], *words.figures(row)]
    assert len(html._HEAD) == 1 + len(said) + 1


def test_figures_in_words() -> None:
    assert [words.seconds(value) for value in (0, 3.2e-9, 1.5e-6, 0.0234, 12.0, None)] == [
        "0 s", "3.2 ns", "1.5 us", "23.4 ms", "12 s", "-",
    ]  # fmt: skip
    assert [words.size(value) for value in (0, 999, 64_000_000, 2.5e9)] == ["0 B", "999 B", "64 MB", "2.5 GB"]
    assert [words.rate(value) for value in (1.5, 940, 142_000)] == ["1.5/s", "940/s", "142.0k/s"]
    assert set(SPARED) < set(COLUMNS)


# ---- the report ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report() -> str:
    cases = [
        measured_case(f"100 x {size}", {"inline": times(3), "each": times(1), "native": times(1)}, size=size)
        for size in (1000, 1_000_000)
    ]
    row = {
        "task": "hash", "case": "x", "contender": "each", "variant": "hybrid", "arrivals": "poisson", "rate": 1000.0,
        "status": "ok", "detail": "", "offered": 10, "finished_per_second": 999.0, "stall": None, "unfinished": 0,
        "failed": 0, "wrong": 0, "most_in_flight": 3,
        "latency": {"p50": 0.001, "p99": 0.002, "p999": 0.003, "items": 10, "histogram": [(0.5, 0.001)]},
    }  # fmt: skip
    scaling = [{"threads": n, "gb_per_second": {"offloop": n * 2.0, "inline": 1.0}} for n in (1, 2)]
    rows = [row, {**row, "case": "y", "rate": 2000.0}]
    return html.page(document_of(cases, open_loop=rows, scaling=scaling, form="<script>"))


def test_the_report_is_whole_and_needs_nothing_from_elsewhere(report: str) -> None:
    assert "<script>" not in report  # what comes from the results is escaped
    assert "&lt;script&gt;" in report
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", report)
    assert re.findall(r'(?:https?:)?//\w[^\s"<]*|(?:src|href)="(?!#)[^"]*"|url\((?!#)', without_names) == []
    for words_of_it in ("hybrid against asyncio", "100 x 1000000", "open loop", "by hand", "it is not installed"):
        assert words_of_it.lower() in report.lower()


def test_the_report_has_its_plots(report: str) -> None:
    pytest.importorskip("matplotlib")
    drawings = re.findall(r"<svg.*?</svg>", report, re.DOTALL)
    titles = re.findall(r"<h3>([^<]*)</h3>\s*<svg", report)
    assert titles == [
        "hash: throughput by size",
        "hash: speed-up",
        "hash: latency of an item, 100 x 1000000",
        "hash: longest stall of the loop",
        "scaling by threads",
        "open loop: hash, x: p99 by offered rate",
        "open loop: hash, y: p99 by offered rate",
    ]
    for drawing in drawings:
        xml.etree.ElementTree.fromstring(drawing)


def test_the_open_loop_has_a_table_for_each_case(report: str) -> None:
    tables = re.findall(r"<h3>hash: (x|y)</h3><table>(.*?)</table>", report, re.DOTALL)
    assert [(case, re.findall(r"<td>(1000|2000|2.0k)/s</td>", rows)) for case, rows in tables] == [
        ("x", ["1000"]),
        ("y", ["2000"]),
    ]


def test_without_matplotlib_the_report_names_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    page = html.page(results(inline=2, each=1))
    assert "There are no plots: matplotlib is not installed (pip install &#x27;offloop[bench]&#x27;)" in page
    assert "<svg" not in page


# ---- the claims ------------------------------------------------------------------------------------------------------


def test_the_claims_page_does_the_sums() -> None:
    # 100 payloads of 10 MB: inline 1 s (1 GB/s), each 0.25 s (4 GB/s), native 0.2 s (5 GB/s).
    case = measured_case(
        "100 x 10 MB", {"inline": times(1), "each": times(0.25), "native": times(0.2)}, size=10_000_000
    )
    page = claims.page(document_of([case]))
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert "4.00x" in rows["15.7x asyncio at 10 MB"]
    assert "no: all workers gave at most 5.00x one core of hashlib" in rows["15.7x asyncio at 10 MB"]
    assert "yes: all workers gave at most 5.00x" in rows["3.2x asyncio at 1 MB"]
    assert "not measured" in rows["3.2x asyncio at 1 MB"]
    claimed = next(line for name, line in rows.items() if "18,900" in name)
    assert "10 MB x 18,900/s = 189 GB/s of SHA-256" in claimed
    assert "500/s, 5.00 GB/s" in claimed
    assert "reached 5.00, so it takes 76" in claimed  # 189 / 5 x 2 cores
    assert "17,750/s and 56 us" in rows["142,000 requests/s on 8 vCPU"]
    assert "0.80x" in rows["3.2x native"]
    assert "5.04x arithmetic, 3.41x geometric" in page
    assert "4.00x (4.00 - 4.00): reached" in page


def image_row(contender: str, variant: str, p99: float, **changes: Any) -> dict[str, Any]:
    """An open-loop row of the image task at 40/s, which it keeps up with."""
    row = {
        "task": "image", "case": "16 JPEG", "contender": contender, "variant": variant, "arrivals": "poisson",
        "rate": 40.0, "status": "ok", "detail": "", "offered": 400, "finished_per_second": 39.0, "stall": None,
        "unfinished": 0, "failed": 0, "wrong": 0, "most_in_flight": 3,
        "latency": {"p50": p99 / 2, "p99": p99, "p999": p99, "items": 400, "histogram": []},
    }  # fmt: skip
    return {**row, **changes}


def image_claims(*rows: dict[str, Any], cases: Sequence[document.CaseDict] = ()) -> tuple[str, str]:
    """What the page says beside the two claims about an image service."""
    page = claims.page(document_of(cases, open_loop=list(rows)))
    lines = [line for line in page.splitlines() if "2.4 s to 120 ms" in line or "2.1 % to 0.03 %" in line]
    return lines[0], lines[1]


def test_the_claims_about_an_image_service_stand_beside_the_open_loop() -> None:
    inline = image_row(
        "asyncio, Pillow inline", "asyncio", 2.5, status="failed", finished_per_second=13.0, unfinished=30, failed=2
    )
    each = image_row("offloop, await each", "hybrid", 0.05, unfinished=1)
    p99, errors = image_claims(image_row("asyncio.to_thread, Pillow", "asyncio", 9.0), inline, each)
    assert "from 2.5 s (asyncio, Pillow inline) to 50 ms (offloop, await each) at 40/s offered (image, 16 JPEG)" in p99
    assert "yes: asyncio, Pillow inline finished 13/s; its queue grows as long as the load lasts" in p99
    assert "from 8.00% to 0.25% failed or unfinished" in errors
    p99, _ = image_claims(image_row("asyncio, Pillow inline", "asyncio", 0.1), each)
    assert "both keep up with 40/s" in p99
    p99, _ = image_claims(inline, image_row("offloop, await each", "hybrid", 2.0, finished_per_second=20.0))
    assert "no: 40/s is more than either of them can do" in p99


def test_the_open_loop_may_be_of_another_run() -> None:
    rows = [image_row("asyncio, Pillow inline", "asyncio", 2.5), image_row("offloop, await each", "hybrid", 0.05)]
    other = document_of([], open_loop=rows, started="2026-01-02T03:04:05+00:00")
    page = claims.page(document_of([]), other)
    assert "from 2.5 s (asyncio, Pillow inline) to 50 ms (offloop, await each)" in page
    assert "The open loop: 2026-01-02" in page
    told = markdown.tables(other)
    assert "| open loop, image: 16 JPEG | offered | finished | p50 | p99 |" in told
    assert "| offloop, await each | 40/s | 39/s | 25 ms | 50 ms |" in told


def test_without_an_open_loop_of_pictures_the_claims_say_what_would_measure_them() -> None:
    wrong = image_row("offloop, await each", "hybrid", 0.05, status="wrong", latency=None)
    for rows in ([], [wrong, image_row("asyncio, Pillow inline", "asyncio", 2.5)]):
        p99, errors = image_claims(*rows)
        for line in (p99, errors):
            assert "not measured here: `offloop bench --task image --rate N` does" in line
        assert "not judged without the image task" in p99
    closed = measured_case("16 JPEG", {"inline": times(1), "each": times(0.2)}, task="image", items=16)
    assert "yes, between the 16/s of asyncio and the 80/s of the hybrid (16 JPEG)" in image_claims(cases=[closed])[0]
    slower = measured_case("16 JPEG", {"inline": times(1), "each": times(2)}, task="image", items=16)
    assert "no: at 16 JPEG the hybrid is not the faster one" in image_claims(cases=[slower])[0]


def test_without_results_the_claims_page_claims_nothing() -> None:
    page = claims.page(None)
    assert "No results are stored yet" in page
    assert page.count("not measured") >= 10
    assert "189 GB/s" in page


# ---- comparing two runs ----------------------------------------------------------------------------------------------


def verdict(before: Sequence[float], after: Sequence[float]) -> Change:
    old, new = (document_of([measured_case("x", {"each": seconds})]) for seconds in (before, after))
    (change,) = compare(old, new).changes
    return change


@pytest.mark.parametrize(
    ("factor", "rounds", "expected"),
    [
        (1.5, 5, "slower"),
        (0.5, 5, "faster"),
        (1.0, 5, "no difference shown"),
        (1.005, 5, "no difference shown"),
        (1.5, 3, "too few rounds"),
    ],
)
def test_the_verdict_on_a_change_of_a_known_size(factor: float, rounds: int, expected: Verdict) -> None:
    before = [1 + number / 1000 for number in range(rounds)]
    change = verdict(before, [factor * value for value in before])
    assert change.verdict == expected
    assert change.ratio.median == pytest.approx(factor, rel=0.01)


def test_a_significant_change_that_does_not_matter_is_none() -> None:
    change = verdict([1 + n / 1e6 for n in range(8)], [1.01 + n / 1e6 for n in range(8)])
    assert change.p < 0.001
    assert change.verdict == "no difference shown"


def test_a_wide_spread_hides_a_change() -> None:
    assert verdict([1, 5, 2, 9, 3], [2, 6, 3, 10, 4]).verdict == "no difference shown"


def test_many_comparisons_raise_the_bar_and_it_says_how_many_rounds_would_do() -> None:
    same = {"inline": times(1), "threads": times(1), "native": times(1)}
    old = document_of([measured_case(f"case {n}", {**same, "each": times(1)}) for n in range(5)])
    new = document_of([measured_case(f"case {n}", {**same, "each": times(2 if n == 0 else 1)}) for n in range(5)])
    found = compare(old, new)
    assert [change.verdict for change in found.changes] == ["no difference shown"] * 20
    changed = next(change for change in found.changes if change.p < 0.05)
    assert (changed.case, changed.contender) == ("case 0", "each")
    assert changed.adjusted_p > 0.05
    assert found.notes == [
        "among 20 comparisons so few rounds cannot show that one contender alone changed; --repeats 6 in both runs can"
    ]


def test_what_only_one_run_has_and_what_else_differs_is_said() -> None:
    old, new = results(inline=2, each=1), results(inline=2, native=1)
    new["machine"] = {**new["machine"], "python": "CPython 3.15.0"}
    found = compare(old, new)
    assert [change.contender for change in found.changes] == ["inline"]
    assert found.only_in_one == [
        "only in the old run: hash, 100 x 1 KB, each",
        "only in the new run: hash, 100 x 1 KB, native",
    ]
    assert found.differences == ["python: CPython 3.14.0 → CPython 3.15.0"]
