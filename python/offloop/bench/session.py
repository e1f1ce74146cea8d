"""One run of the suite: measures the plan's cases and keeps the results readable whatever happens."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import offloop
from offloop.bench import open_loop, scaling
from offloop.bench import plan as plans
from offloop.bench.document import SCHEMA_VERSION, CaseDict, Document, write
from offloop.bench.figures import averages
from offloop.bench.machine import Noise, machine
from offloop.bench.model import Case
from offloop.bench.plan import Plan
from offloop.bench.runner import CaseRun
from offloop.bench.summary import sentences


class Session:
    """A run. `document` is whole at any time; `run` writes it to `folder` after every case."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._started = time.time()
        self._noise = Noise()
        self.document = Document(
            schema=SCHEMA_VERSION,
            offloop=offloop.__version__,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
            seconds=0.0,
            complete=False,
            interrupted=False,
            form="quick" if plan.quick else "full",
            settings=plan.document(),
            machine=machine(),
            noise={},
            cases=[],
            averages=[],
            open_loop=[],
            scaling=[],
            sentences=[],
        )

    def run(self, say: Callable[[str], None], show: Callable[[CaseDict], None]) -> None:
        """Measure everything; after Ctrl-C what there is is written, marked as interrupted, and the call returns.

        :param say: told what is being done.
        :param show: given each case when it has been measured.

        Raises OSError when the results cannot be written, ValueError for an input that the plan names.
        """
        self._write()  # a folder that cannot be written is an error now, not after an hour
        try:
            self._noise.begin()
            if self._plan.scales:
                self._scaling(say)
            with closing(plans.cases(self._plan)) as cases:
                for case in cases:
                    if self._plan.rates is not None:
                        self._open_loop(case, self._plan.rates, say)
                        continue
                    measuring = CaseRun(case, self._plan.effort, self._noise, say)
                    try:
                        measuring.run()
                    finally:
                        self.document["cases"].append(measuring.document())
                        self._write()
                    show(self.document["cases"][-1])
            self._noise.end()
            self.document["complete"] = True
        except KeyboardInterrupt:
            self.document["interrupted"] = True
        self._write()

    def _scaling(self, say: Callable[[str], None]) -> None:
        try:
            self.document["scaling"] = scaling.measure(repeats=3, seed=self._plan.seed, say=say)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self.document["settings"]["scaling_failed"] = str(error)

    def _open_loop(self, case: Case, rates: Sequence[float], say: Callable[[str], None]) -> None:
        def keep(row: dict[str, Any]) -> None:
            self.document["open_loop"].append(row)
            self._write()

        open_loop.measure(
            case,
            rates,
            seconds=self._plan.open_loop_seconds,
            arrivals=self._plan.arrivals,
            seed=self._plan.seed,
            say=say,
            keep=keep,
        )

    def _write(self) -> None:
        document = self.document
        document["seconds"] = time.time() - self._started
        document["noise"] = self._noise.document()
        document["averages"] = averages(document["cases"], self._plan.seed)
        document["sentences"] = sentences(document)
        write(document, self._folder)
