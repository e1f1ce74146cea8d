"""What the figures say, in words, each with what to try. Every sentence is made from the figures alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from offloop.profiling.figures import Blocked, Profile

# From where on something is worth a sentence.
_MUCH_QUEUEING = 0.25
_MUCH_DELIVERY = 0.25
_BUSY = 0.8
_FEW_LANES = 2.0
_MANY_OPERATIONS = 200
_MOST_BLOCKERS = 5

# What offloop or a thread takes off the loop, by what the call is called.
_REMEDIES = (
    (
        ("sha1", "sha2", "sha3", "sha5", "md5", "blake", "hashlib", "digest"),
        "await offloop.sha256(data) or offloop.hashing.digest(data, name)",
    ),
    (("requests.", "urlopen", "urllib", "httpx.get"), "await offloop.fetch_url(url)"),
    (("sleep",), "await asyncio.sleep(...)"),
    (("json.", "loads", "dumps"), "split the document, or a process: json keeps the GIL in a thread, too"),
    (("Image.", "resize", "thumbnail"), "await offloop.image.resize(...)"),
    ((".wait", ".acquire", ".result"), "asyncio's own Event, Lock or Future, or await asyncio.to_thread(...)"),
    (("open", ".read", ".write"), "await asyncio.to_thread(...); for digests of files offloop.hashing.file_digest"),
)
_OTHERWISE = (
    "an operation of offloop where there is one, else await asyncio.to_thread(...), or a process for pure Python"
)


class Finding(NamedTuple):
    """One thing that takes time, and what to try."""

    says: str
    attempt: str


def diagnose(profile: Profile) -> list[Finding]:
    """The worst first; at least one, also where all is well."""
    found = [*_stalls(profile), *_queueing(profile), *_delivery(profile), *_lanes(profile)]
    if found:
        return found
    if profile.processes == 0:
        why = (
            "the process is seen from outside alone"
            if profile.attached
            else "no process of the command imported offloop"
        )
        return [Finding(f"{why}: there are stacks, but no latencies", "")]
    return [
        Finding(
            f"nothing stands out: no stall of a loop above {profile.stall_threshold_ms:g} ms, "
            f"{_percent(profile.queue_share)} of the wait is queueing",
            "",
        )
    ]


def _stalls(profile: Profile) -> Iterator[Finding]:
    for blocked in profile.blocked[:_MOST_BLOCKERS]:
        times = "once" if blocked.count == 1 else f"{blocked.count} times, {blocked.total_ms:.0f} ms in all"
        says = f"the loop is blocked {blocked.longest_ms:.0f} ms by {blocked.call} in {_place(blocked)} ({times})"
        yield Finding(says, _remedy(blocked.call))
    further = len(profile.blocked) - _MOST_BLOCKERS
    if further > 0:
        rest = sum(blocked.total_ms for blocked in profile.blocked[_MOST_BLOCKERS:])
        yield Finding(f"{further} further places block it for {rest:.0f} ms in all", "")


def _queueing(profile: Profile) -> Iterator[Finding]:
    share, busy = profile.queue_share, profile.busy
    if profile.parked >= 1:
        yield Finding(
            f"{profile.parked:.0f} operations wait for a slot on average (max_pending is reached)",
            "start fewer at a time (a semaphore), or offloop.configure(max_pending=...) when memory allows",
        )
    if share < _MUCH_QUEUEING or profile.queue.count < 2:
        return
    says = f"{_percent(share)} of the wait is queueing: {_workers(profile.threads)}, {_percent(busy)} busy"
    if busy < _BUSY:
        yield Finding(
            says, "work comes in bursts: spread it, or start the first items while the rest is still being collected"
        )
    elif profile.threads < profile.cpus:
        yield Finding(
            says, f"offloop.configure(threads={profile.cpus}) or OFFLOOP_THREADS: there are {profile.cpus} CPUs"
        )
    else:
        yield Finding(
            says,
            f"all {profile.cpus} CPUs are in use: one batch call (sha256_many) instead of many awaits costs less each; "
            "else less work, or another machine",
        )


def _delivery(profile: Profile) -> Iterator[Finding]:
    share = profile.deliver_share
    if share < _MUCH_DELIVERY or profile.deliver.count < 2 or profile.deliver.p99_ms < 1:
        return
    why = "it is blocked, see above" if profile.blocked else "its callbacks are many or slow"
    yield Finding(
        f"{_percent(share)} of the wait is for the loop to fetch the result: {why}",
        "shorter steps between awaits; a batch call brings many results at once",
    )


def _lanes(profile: Profile) -> Iterator[Finding]:
    if profile.operations < _MANY_OPERATIONS or profile.quanta == 0 or profile.lane_fill >= _FEW_LANES:
        return
    yield Finding(
        f"{profile.operations} operations, {profile.lane_fill:.1f} side by side: they are awaited one after the other",
        "start several before awaiting: a TaskGroup, or offloop.sha256_many",
    )


def _remedy(call: str) -> str:
    for words, remedy in _REMEDIES:
        if any(word in call for word in words):
            return remedy
    return _OTHERWISE


def _place(blocked: Blocked) -> str:
    return f"{os.path.basename(blocked.file)}:{blocked.line}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _workers(number: int) -> str:
    return f"{number} worker" if number == 1 else f"{number} workers"
