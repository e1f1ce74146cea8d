"""Instructions that one await costs the event loop's thread over an empty task, by library: callgrind's count.

CPU time on a shared machine varies by a factor of two, instructions do not: this is the figure by which a change of the
path is judged. The hash functions' own are left out (valgrind hides SHA-NI and AVX-512 from us).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import callgrind
import harness
from harness import Report, Row, Spread

TASKS = 1000
ROUNDS = 6  # and one before that does not differ: imports, the first port, the pool

_PROGRAM = f"""
import asyncio, os, sys, offloop
base = os.urandom(4096)
payloads = [i.to_bytes(8, "big") + base[8:] for i in range({TASKS})]
async def empty(payload):
    return ""
async def one(payload):
    return await offloop.sha256(payload)
async def main(rounds):
    await offloop.sha256(base)
    for _ in range(rounds):
        async with asyncio.TaskGroup() as group:
            for payload in payloads:
                group.create_task((one if sys.argv[1] == "one" else empty)(payload))
asyncio.run(main(int(sys.argv[2])))
"""


def instructions(what: str, rounds: int, folder: Path) -> Counter[str]:
    """Instructions of the loop's thread by library, the hash functions left out."""
    out = folder / f"{what}-{rounds}"
    callgrind.count(_PROGRAM, [what, str(rounds)], out)
    found: Counter[str] = Counter()
    for (library, function), number in callgrind.of_thread(out, 1).items():
        if "sha256_" not in function:
            found[library] += number
    return found


def per_task(what: str, folder: Path) -> Counter[str]:
    """Of one task: the difference between a long and a short run, so that start and end cancel out."""
    short, long = instructions(what, 1, folder), instructions(what, 1 + ROUNDS, folder)
    return Counter({name: round((long[name] - short[name]) / (TASKS * ROUNDS)) for name in long})


def main() -> None:
    given = harness.arguments(__doc__, repeats=1)
    if not callgrind.is_installed():
        print("await_instructions: valgrind is not installed, nothing is measured")
        return
    report = Report("await_instructions", given)
    with tempfile.TemporaryDirectory() as folder:
        empty, one = per_task("empty", Path(folder)), per_task("one", Path(folder))
    row = Row(f"TaskGroup of {TASKS} tasks, 4096 bytes each", "instructions")
    exact = {"empty task": sum(empty.values()), "one await over an empty task": sum(one.values()) - sum(empty.values())}
    exact |= {f"of these in {name}": one[name] - empty[name] for name, _ in (one - empty).most_common(5)}
    row.values = {name: Spread.of([float(count)]) for name, count in exact.items()}
    report.add(row)
    report.finish()


if __name__ == "__main__":
    main()
