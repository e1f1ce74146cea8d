"""Drives the model of bridge_model.py with random steps, for long: `make soak SEEDS=100 STEPS=10000`.

usage: soak.py [--seeds N] [--steps N] [--first SEED]

Hypothesis bounds the length of one example to a few hundred steps; here a seed decides all of them. A failure prints
its seed, its step, the last steps, and the line that runs it again.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import random
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable

from bridge_model import WEIGHTS, Choose, Model

LAST_STEPS = 25
NAMES, SHARES = list(WEIGHTS), list(WEIGHTS.values())


def new_debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 3600  # a busy machine is no news
    return loop


def loop_factory(seed: int) -> Callable[[], asyncio.AbstractEventLoop]:
    """The seed decides the kind of loop, too: asyncio's, asyncio's in debug mode, uvloop's where there is one."""
    factories: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, new_debug_loop]
    try:
        import uvloop
    except ImportError:
        pass
    else:
        factories.append(uvloop.new_event_loop)
    return factories[seed % len(factories)]


def run(seed: int, steps: int) -> None:
    """All steps of one seed. Raises: whatever the model does; the steps taken last have been printed then."""
    chosen = random.Random(seed)
    last: deque[str] = deque(maxlen=LAST_STEPS)
    model = Model(loop_factory(seed))
    try:
        for _ in range(steps):
            (name,) = chosen.choices(NAMES, SHARES)
            last.append(name)
            model.step(name, Choose(lambda n: chosen.randrange(n)))
        name = "end"
        model.end()
    except BaseException:
        print(f"seed {seed}, step {model.steps}: failed in {name}; the last: {', '.join(last)}", file=sys.stderr)
        traceback.print_exc()
        print(
            f"reproduce: make soak FIRST={seed} SEEDS=1 STEPS={min(steps, model.steps + 1)}",
            file=sys.stderr,
            flush=True,
        )
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many runs (default 100)")
    parser.add_argument("--steps", type=int, default=10_000, help="steps a run (default 10000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    arguments = parser.parse_args()
    faulthandler.enable()
    started = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        print(f"seed {seed}: {arguments.steps} steps", flush=True)
        try:
            run(seed, arguments.steps)
        except BaseException:
            # Without the interpreter's end, which might hide what is wrong behind what follows from it.
            os._exit(1)
    print(
        f"soak: {arguments.seeds} seeds of {arguments.steps} steps, no difference, {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
