"""Prints requirements that pyproject.toml lists, for pip: `requirements.py build-system test` (extras by name)."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def of(*names: str) -> list[str]:
    """What the lists of these names hold: `build-system`, `dependencies`, or an extra."""
    parsed = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    project = parsed["project"]
    lists = {
        **project["optional-dependencies"],
        "build-system": parsed["build-system"]["requires"],
        "dependencies": project["dependencies"],
    }
    return [str(requirement) for name in names for requirement in lists[name]]


if __name__ == "__main__":
    print("\n".join(of(*sys.argv[1:])))
