"""What the tests of `offloop profile` share: a profiler started beside a process, and what it must not leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge_helpers import block_until

# Without the tools: an empty PATH, and no folder of scripts beside the interpreter.
WITHOUT_TOOLS = (
    "import sys; from offloop.cli import main; sys.executable = '/nowhere/python'; sys.exit(main(sys.argv[1:]))"
)


class Profiler:
    """`offloop profile` with folders of its own: `out` for its results, `temporary` for what it must remove."""

    def __init__(self, folder: Path, tools: bool = True, start: str = "") -> None:
        self.out = folder / "out"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._start = ["-c", start or WITHOUT_TOOLS] if start or not tools else ["-m", "offloop"]
        self.environment = {**os.environ, "TMPDIR": str(self.temporary), **({} if tools else {"PATH": ""})}

    def line(self, *arguments: object) -> list[str]:
        return [sys.executable, *self._start, "profile", "-o", str(self.out), *map(str, arguments)]

    def run(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """To its end."""
        return subprocess.run(
            self.line(*arguments), env=self.environment, capture_output=True, text=True, check=False, timeout=50,
            **options,
        )  # fmt: skip

    @contextlib.contextmanager
    def running(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """In the background, in our process group and without a terminal's signals."""
        with subprocess.Popen(
            self.line(*arguments), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "profile.json").read_text())
        return found

    def wait_for_operations(self) -> None:
        """Until the watcher has written that some have ended."""

        def some() -> bool:
            for path in self.temporary.glob("*/watchers/process-*.json"):
                with contextlib.suppress(FileNotFoundError):
                    document = json.loads(path.read_text())
                    if document["after"]["done"] > document["before"]["done"]:
                        return True
            return False

        block_until(some, "operations in the watcher's file")

    def assert_nothing_is_left(self) -> None:
        """No files, and no tool that still works for it: they name its folder on their command lines."""
        assert not list(self.temporary.rglob("*"))
        left = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes()
                if os.fsencode(self.temporary) in words:
                    left.append(words)
        assert not left


@contextlib.contextmanager
def beside(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process to look at, which has said "up"; it ends when its standard input is closed."""
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()
