"""The native contender: ``offloop-native-bench``, the same core without Python, kept running between its rounds."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import offloop
from offloop.bench import model
from offloop.bench.model import Missing, Round

PROGRAM = Path(offloop.__file__).parent / "bin" / "offloop-native-bench"
_STOP_SECONDS = 5.0


class NativeProgram:
    """One run of the program; `Running`."""

    standing = False

    def __init__(self, process: subprocess.Popen[str], bursts: int) -> None:
        self._process = process
        self._bursts = bursts
        self.helpers: Sequence[int] = [process.pid]

    def round(self, probe: bool) -> Round:
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; the exit code below says more
            self._process.stdin.write(f"{'probe' if probe else 'time'} {self._bursts}\n")
            self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], model.ROUND_SECONDS)
        if not readable:
            self._process.kill()
            raise TimeoutError(f"{PROGRAM.name} did not answer within {model.ROUND_SECONDS:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{PROGRAM.name} ended with exit code {self._process.wait(_STOP_SECONDS)}")
        told = json.loads(line)
        return Round(told["seconds"], told["bursts"], [ns / 1e9 for ns in told["latencies_ns"]])


@contextlib.contextmanager
def native_program(arguments: Sequence[str], bursts: int) -> Iterator[NativeProgram]:
    """Start it; it ends with the block. Raises Missing when it is not part of this installation."""
    if not PROGRAM.exists():
        raise Missing(f"{PROGRAM.name} is not part of this installation")
    with subprocess.Popen(
        [PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is answered by us
    ) as process:
        try:
            yield NativeProgram(process, bursts)
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
