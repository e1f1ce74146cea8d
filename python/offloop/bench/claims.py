"""The claims page: what is said in public about Python with a native core, beside what this suite measured.

Everything in it is made from a results.json, the arithmetic included; nothing is typed by hand but the claims.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from offloop.bench import claims_image, words
from offloop.bench.document import SCHEMA_VERSION, CaseDict, ContenderDict, Document
from offloop.bench.figures import CLASSIC, NATIVE

# What is said of the speed-up at 1 KB, 10 KB, 100 KB, 1 MB and 10 MB, and on average.
CLAIMED_TABLE = {1000: 1.9, 10_000: 2.1, 100_000: 2.3, 1_000_000: 3.2, 10_000_000: 15.7}
CLAIMED_AVERAGE = 2.7
CLAIMED_RATE_10_MB = 18_900.0
WANTED_AVERAGE = 2.7  # what offloop wants to reach on two cores

_LARGE = 1_000_000
_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Claim:
    """One public claim; the two functions work on the results, which may lack what they look for."""

    words: str
    measured: Callable[[Document], str]
    possible: Callable[[Document], str]


def page(document: Document | None, open_loop: Document | None = None) -> str:
    """The page in Markdown; without results it says what cannot be said yet. `open_loop`: more rows, of another run."""
    lines = [
        "# Claims",
        "",
        "What is said in public about Python in front of a native core, beside what `offloop bench` measured on one",
        "machine, and whether it is possible there at all. Made by `offloop bench claims`; only the claims themselves",
        "are typed by hand.",
        "",
        _where(document),
        *([] if open_loop is None else ["", f"The open loop: {_where(open_loop)}"]),
        "",
        "| claim | measured here | possible here? |",
        "|---|---|---|",
    ]
    results = document if document is not None else _EMPTY
    if open_loop is not None:
        results = {**results, "open_loop": [*results["open_loop"], *open_loop["open_loop"]]}
    for claim in CLAIMS:
        lines.append(f"| {claim.words} | {claim.measured(results)} | {claim.possible(results)} |")
    lines += ["", "## The arithmetic", "", *(f"- {line}" for line in arithmetic(results)), ""]
    return "\n".join(lines)


def _where(document: Document | None) -> str:
    if document is None:
        return "No results are stored yet: `offloop bench`, then `offloop bench claims DIR/results.json`."
    about = document["machine"]
    noisy = "".join(f" **The machine was noisy: {warning}.**" for warning in document["noise"].get("warnings", []))
    return (
        f"{document['started'][:10]}, {document['form']} form, {about['cpu']['name']} ({about['cpu']['model']}), "
        f"{about['cores']} cores, {about['python']}, offloop {document['offloop']}, widest kernel "
        f"{about['widest_kernel']}.{noisy}"
    )


# --- looking things up ----------------------------------------------------------------------------------------------


def _case(document: Document, size: int, task: str = "hash") -> CaseDict | None:
    return next(
        (
            case
            for case in document["cases"]
            if case["task"] == task and case["items"] and case["total_bytes"] == size * case["items"]
        ),
        None,
    )


def _rows(document: Document, variant: str) -> list[tuple[CaseDict, ContenderDict]]:
    return [
        (case, row)
        for case in document["cases"]
        for row in case["contenders"]
        if row["variant"] == variant and row["status"] == "ok"
    ]


def _speedup(case: CaseDict | None, kind: str) -> str:
    if case is not None:
        for speedup in case["speedups"]:
            if speedup["kind"] == kind:
                return words.times(speedup["ratio"])
    return _NOT_MEASURED


def best_gb_per_second(document: Document, variant: str) -> float | None:
    """The highest rate of hashing that any contender of the variant reached."""
    rates = [
        row["gb_per_second"]
        for case, row in _rows(document, variant)
        if case["task"] in ("hash", "small", "mixed") and row["gb_per_second"]
    ]
    return max(rates, default=None)


def _average(document: Document, kind: str) -> str:
    for average in document["averages"]:
        if average["task"] == "hash" and average["kind"] == kind:
            return f"{words.times(average['geometric'])} geometric, {average['arithmetic']:.2f}x arithmetic"
    return _NOT_MEASURED


# --- the claims -----------------------------------------------------------------------------------------------------


def _fastest_requests(document: Document) -> str:
    found = [
        (row["items_per_second"] or 0.0, case, row)
        for case, row in _rows(document, "hybrid")
        if case["task"] in ("hash", "small", "fetch")
    ]
    parts = []
    for task, what in (("hash", "hashes"), ("fetch", "fetched and hashed")):
        of = [one for one in found if (one[1]["task"] == "fetch") == (task == "fetch")]
        if of:
            rate, case, row = max(of, key=lambda one: one[0])
            parts.append(f"{words.rate(rate)} {what} ({case['name']}, {row['name']})")
    return "; ".join(parts) or _NOT_MEASURED


def _requests_possible(document: Document) -> str:
    cores = document["machine"].get("cores")
    us = 8 / 142_000 * 1e6
    text = f"142,000/s on 8 vCPU are {142_000 / 8:,.0f}/s and {us:.0f} us of CPU a request on each"
    return text + (f"; the same share of {cores} cores is {142_000 / 8 * cores:,.0f}/s" if cores else "")


def _largest_classic(document: Document) -> str:
    found = [
        (speedup["ratio"]["median"], case, speedup)
        for case in document["cases"]
        if case["task"] != "cancel"
        for speedup in case["speedups"]
        if speedup["kind"] == CLASSIC
    ]
    if not found:
        return _NOT_MEASURED
    _, case, speedup = max(found, key=lambda one: one[0])
    return f"at most {words.times(speedup['ratio'])} ({case['task']}, {case['name']})"


def _eleven_possible(document: Document) -> str:
    ceiling = kernel_ceiling(document)
    if ceiling is None:
        return "depends on what the kernels give over hashlib"
    return (
        f"hashing here: all workers give at most {ceiling:.2f}x what hashlib gives on one core"
        f" → {'possible' if ceiling >= 11 else 'not by hashing'}"
    )


def kernel_ceiling(document: Document) -> float | None:
    """The best rate of all workers over hashlib inline at its best: nothing behind Python can do better.

    By payloads of 1 MB and more, where only the kernels count; None where there were none.
    """
    large = [c for c in document["cases"] if c["task"] == "hash" and c["total_bytes"] >= _LARGE * c["items"]]
    rates: dict[str, float] = {}
    for case in large:
        for row in case["contenders"]:
            side = "theirs" if row["variant"] == "asyncio" and row["classic"] else row["variant"]
            rates[side] = max(rates.get(side, 0.0), row["gb_per_second"] or 0.0)
    ours = max(rates.get("native", 0.0), rates.get("hybrid", 0.0))
    return ours / rates["theirs"] if ours and rates.get("theirs") else None


def _native_ratio(document: Document) -> str:
    return f"hybrid / native: {_average(document, NATIVE)}"


def _at_size(size: int) -> Callable[[Document], str]:
    return lambda document: _speedup(_case(document, size), CLASSIC)


def _size_possible(size: int) -> Callable[[Document], str]:
    def possible(document: Document) -> str:
        claimed = CLAIMED_TABLE[size]
        ceiling = kernel_ceiling(document)
        if ceiling is None:
            return "not judged without payloads of 1 MB"
        return f"{'yes' if claimed <= ceiling else 'no'}: all workers gave at most {ceiling:.2f}x one core of hashlib"

    return possible


def _average_possible(document: Document) -> str:
    return f"of the five figures themselves the mean is {_means_of_claimed()}, not {CLAIMED_AVERAGE}x"


def _means_of_claimed() -> str:
    ratios = CLAIMED_TABLE.values()
    return f"{statistics.fmean(ratios):.2f}x arithmetic, {statistics.geometric_mean(ratios):.2f}x geometric"


def _ten_mb_rate(document: Document) -> str:
    case = _case(document, 10_000_000)
    rows = [row for row in (case["contenders"] if case else []) if row["variant"] in ("hybrid", "native")]
    rates = [row["items_per_second"] for row in rows if row["status"] == "ok" and row["items_per_second"]]
    return f"{words.rate(max(rates))}, {max(rates) * 10e6 / 1e9:.2f} GB/s" if rates else _NOT_MEASURED


def _ten_mb_possible(document: Document) -> str:
    needed = CLAIMED_RATE_10_MB * 10e6 / 1e9
    have = max((best_gb_per_second(document, variant) or 0.0 for variant in ("hybrid", "native")), default=0.0)
    text = f"10 MB x {CLAIMED_RATE_10_MB:,.0f}/s = {needed:.0f} GB/s of SHA-256"
    if not have:
        return text
    cores = document["machine"]["cores"]
    return (
        f"no: {text}; this machine's {cores} cores reached {have:.2f}, so it takes {math.ceil(needed / have * cores)}"
    )


def _call_time(document: Document) -> str:
    found = [
        (case, row["latency"])
        for case, row in _rows(document, "hybrid")
        if row["classic"] and row["latency"] and case["task"] in ("hash", "fetch")
    ]
    if not found:
        return _NOT_MEASURED
    return "; ".join(
        f"p50 {words.seconds(latency['p50'])} at {case['task']}, {case['name']}" for case, latency in found[:2]
    )


def _scaling(document: Document) -> str:
    rows = [row for row in document["scaling"] if "offloop" in row["gb_per_second"]]
    if len(rows) < 2:
        return _NOT_MEASURED
    first, last = rows[0], rows[-1]
    gain = last["gb_per_second"]["offloop"] / first["gb_per_second"]["offloop"] - 1
    return f"{gain:+.0%} from {first['threads']} to {last['threads']} threads"


def _gil(document: Document) -> str:
    if not document["machine"]:
        return _NOT_MEASURED
    free = document["machine"].get("gil") is False
    which = "a free-threaded interpreter" if free else "an interpreter with the GIL"
    return f"this run is on {which}: `offloop bench compare` of one run on each tells"


CLAIMS = [
    Claim("142,000 requests/s on 8 vCPU", _fastest_requests, _requests_possible),
    Claim("11x asyncio", _largest_classic, _eleven_possible),
    Claim(
        "3.2x native",
        _native_ratio,
        lambda document: "no: native is the same core without Python in front, which at best costs nothing",
    ),
    *(
        Claim(f"{claimed}x asyncio at {words.size(size)}", _at_size(size), _size_possible(size))
        for size, claimed in CLAIMED_TABLE.items()
    ),
    Claim(f"{CLAIMED_AVERAGE}x on average", lambda document: _average(document, CLASSIC), _average_possible),
    Claim("10 MB at 18,900/s (what 15.7x stands on)", _ten_mb_rate, _ten_mb_possible),
    Claim("2 ms a call", _call_time, lambda document: "yes, for what is hashed in less; it depends on size and load"),
    Claim("p99 of an image service from 2.4 s to 120 ms", claims_image.p99, claims_image.possible),
    Claim(
        "errors of it from 2.1 % to 0.03 %",
        claims_image.errors,
        lambda document: "yes, where an error is what takes longer than a limit: it follows from the p99",
    ),
    Claim("22 % by matching threads to cores", _scaling, lambda document: "yes, where the default does not match"),
    Claim("12 % by free threading", _gil, lambda document: "for the loop's thread no: it runs one thread either way"),
]


def arithmetic(document: Document) -> list[str]:
    """The sums behind the table."""
    needed = CLAIMED_RATE_10_MB * 10e6 / 1e9
    lines = [
        f"10 MB at {CLAIMED_RATE_10_MB:,.0f}/s: 10,000,000 B x {CLAIMED_RATE_10_MB:,.0f}/s = {needed:.0f} GB/s of "
        "SHA-256. With AVX-512 in sixteen lanes a core gives 4 to 6 GB/s: it would take more than "
        f"{math.floor(needed / 6)} such cores, and more memory bandwidth than most servers have.",
        f"1.9, 2.1, 2.3, 3.2 and 15.7 have the mean {_means_of_claimed()}; {CLAIMED_AVERAGE}x is neither.",
    ]
    native, hybrid = best_gb_per_second(document, "native"), best_gb_per_second(document, "hybrid")
    if native and hybrid:
        lines.append(
            f"The most that was hashed here: native {native:.2f} GB/s, hybrid {hybrid:.2f} GB/s, which is "
            f"{hybrid * 1e9 / 10e6:.0f} payloads of 10 MB a second."
        )
    average = next((a for a in document["averages"] if (a["task"], a["kind"]) == ("hash", CLASSIC)), None)
    if average is not None:
        reached = average["geometric"]["median"] >= WANTED_AVERAGE
        lines.append(
            f"offloop wants {WANTED_AVERAGE}x asyncio on average on two cores; here the geometric mean is "
            f"{words.times(average['geometric'])}: {'reached' if reached else 'MISSED'}."
        )
    return lines


_EMPTY: Document = {
    "schema": SCHEMA_VERSION,
    "offloop": "",
    "started": "",
    "seconds": 0.0,
    "complete": False,
    "interrupted": False,
    "form": "",
    "settings": {},
    "machine": {},
    "noise": {},
    "cases": [],
    "averages": [],
    "open_loop": [],
    "scaling": [],
    "sentences": [],
}
