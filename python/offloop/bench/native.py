"""The native contender: the same core without Python, in a program that is kept running between its rounds."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import offloop
from offloop.bench import model
from offloop.bench.model import Missing, Round

PROGRAM = Path(offloop.__file__).parent / "bin" / "offloop-native-bench"
IMAGE_PROGRAM = PROGRAM.with_name("offloop-native-bench-image")
_STOP_SECONDS = 5.0


class NativeProgram:
    """One run of the program; `Running`."""

    standing = False

    def __init__(self, process: subprocess.Popen[str], name: str, bursts: int, answer: Callable[[str], Any]) -> None:
        self._process = process
        self._name = name
        self._bursts = bursts
        self._answer = answer
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
            raise TimeoutError(f"{self._name} did not answer within {model.ROUND_SECONDS:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with exit code {self._process.wait(_STOP_SECONDS)}")
        told = json.loads(line)
        bursts: list[Sequence[Any]] = [[self._answer(text) for text in burst] for burst in told["bursts"]]
        return Round(told["seconds"], bursts, [ns / 1e9 for ns in told["latencies_ns"]])


@contextlib.contextmanager
def native_program(
    arguments: Sequence[str], bursts: int, *, program: Path = PROGRAM, answer: Callable[[str], Any] = str
) -> Iterator[NativeProgram]:
    """Start it; it ends with the block. Raises Missing when it is not part of this installation.

    :param answer: makes an answer of what the program wrote of an item.
    """
    if not program.exists():
        raise Missing(f"{program.name} is not part of this installation")
    with subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is answered by us
    ) as process:
        try:
            yield NativeProgram(process, program.name, bursts, answer)
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def payload_file(payloads: Sequence[bytes]) -> Iterator[str]:
    """The path of a file with the payloads as the native programs read them: 8 bytes of size, then the bytes."""
    with tempfile.NamedTemporaryFile(prefix="offloop-bench-") as file:
        for payload in payloads:
            file.write(len(payload).to_bytes(8, "little"))
            file.write(payload)
        file.flush()
        yield file.name
