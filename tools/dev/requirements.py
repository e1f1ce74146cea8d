"""Prints requirements that pyproject.toml lists, for pip: `requirements.py build-system test` (extras by name)."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: dict[str, object], name: str) -> list[str]:
    if name == "build-system":
        return list(project["build-system"]["requires"])  # type: ignore[index]
    return list(project["project"]["optional-dependencies"][name])  # type: ignore[index]


if __name__ == "__main__":
    parsed = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    print("\n".join(line for name in sys.argv[1:] for line in requirements(parsed, name)))
