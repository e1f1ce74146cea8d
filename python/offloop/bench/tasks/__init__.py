"""One folder a task; in it one file a contender, each with its CONTENDERS, which the folder's `__init__` names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from offloop.bench.model import Contender


def contenders_of(package: str, modules: Sequence[str]) -> list[Contender]:
    """The contenders of those files of a task's folder, in that order."""
    found: list[Contender] = []
    for module in modules:
        found += importlib.import_module(f"{package}.{module}").CONTENDERS
    return found
