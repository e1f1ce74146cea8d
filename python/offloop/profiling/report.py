"""The report: a text for people, a document for programs, one flame graph of both profilers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from offloop.profiling import flamegraph
from offloop.profiling.diagnosis import diagnose
from offloop.profiling.figures import Latency, Profile

_BARS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 60


def text(profile: Profile, gaps: list[str], files: list[Path]) -> str:
    """Every line of it."""
    return "\n".join([*_diagnosis(profile), *_figures(profile), *_gaps(gaps), *_files(files)])


def write(folder: Path, profile: Profile, stacks: Mapping[str, float], gaps: list[str], title: str) -> list[Path]:
    """``profile.json``, ``flame.svg`` and ``stacks.folded``; returns their paths.

    :raises OSError: one cannot be written.
    """
    paths = [folder / "flame.svg", folder / "stacks.folded", folder / "profile.json"]
    paths[0].write_text(flamegraph.svg(stacks, title), encoding="utf-8")
    paths[1].write_text("".join(f"{stack} {seconds * 1000:.0f}\n" for stack, seconds in sorted(stacks.items())))
    document = {
        "command": title,
        "diagnosis": [finding._asdict() for finding in diagnose(profile)],
        "gaps": gaps,
        "queue_share": profile.queue_share,
        "deliver_share": profile.deliver_share,
        **{name: value for name, value in asdict(profile).items() if name != "samples"},
    }
    paths[2].write_text(json.dumps(document, indent=1) + "\n")
    return paths


def _diagnosis(profile: Profile) -> Iterator[str]:
    for finding in diagnose(profile):
        yield f"- {finding.says}"
        if finding.attempt:
            yield f"    try: {finding.attempt}"


def _figures(profile: Profile) -> Iterator[str]:
    if profile.processes == 0:
        return
    yield ""
    yield (
        f"{profile.seconds:.2f} s, {profile.loops} loops, {profile.operations} works ({profile.bytes / 1e6:.1f} MB), "
        f"{profile.inlined} inline, lane fill {profile.lane_fill:.1f}"
    )
    if profile.threads:
        busy = f"{100 * profile.busy:.0f} % busy while there was work"
        yield f"workers {profile.threads}, {busy}; {profile.queued:.1f} queued"
        yield f"  busy over time  |{_graph(profile)}|"
    for name, phase in (("queue", profile.queue), ("run", profile.run), ("deliver", profile.deliver)):
        if phase.count:
            yield f"  {name:8} {_latency(phase)}"


def _latency(phase: Latency) -> str:
    return f"half below {phase.p50_ms:.3g} ms, 99 % below {phase.p99_ms:.3g} ms"


def _graph(profile: Profile) -> str:
    """The share of the workers that were awake, a column for each sixtieth of the time."""
    last = max((point[0] for point in profile.pool), default=0.0) or 1.0
    columns: list[list[float]] = [[] for _ in range(_COLUMNS)]
    for seconds, threads, awake, _, _ in profile.pool:
        column = min(int(seconds / last * _COLUMNS), _COLUMNS - 1)
        columns[column].append(awake / threads if threads else 0.0)
    means, before = [], 0.0
    for column_values in columns:
        before = sum(column_values) / len(column_values) if column_values else before
        means.append(before)
    return "".join(_BARS[round(mean * (len(_BARS) - 1))] for mean in means)


def _gaps(gaps: list[str]) -> Iterator[str]:
    if gaps:
        yield ""
        yield from (f"not measured: {gap}" for gap in gaps)


def _files(files: list[Path]) -> Iterator[str]:
    if files:
        yield ""
        yield "written: " + ", ".join(str(path) for path in files)
