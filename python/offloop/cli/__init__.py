"""The command line: ``offloop hash``, ``offloop fetch``, ``offloop doctor``, ``offloop bench``. One file a command.

It stands on the public names of offloop like any user's program, and imports a command's needs when that runs.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with `arguments` (default: those of the process) and return its exit code."""
    from offloop.cli.group import run

    return run(arguments)
