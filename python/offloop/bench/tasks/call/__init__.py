"""The user's own function on the user's own data: inline, in threads, in processes, and where it maps in offloop."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from offloop import hashing
from offloop.bench.model import Case, wrong
from offloop.bench.tasks import contenders_of

FILES = ("inline", "threads", "processes", "offloop_operation")
_ROUND_ITEMS = 200
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Mapping:
    """The operation of offloop that gives the same answers."""

    algorithm: str
    form: Literal["digest", "hexdigest"]


@dataclass(frozen=True, slots=True)
class CallWork:
    """What every contender of this task gets."""

    function: Callable[[bytes], Any]
    name: str
    data: Sequence[bytes]
    bursts: int
    at_once: int | None
    mapping: Mapping | None


def case(name: str, folder: Path, at_once: int | None) -> Case:
    """`module:function` called with the bytes of each file below `folder`.

    Raises ValueError for a function that cannot be found, fails, or answers differently each time; OSError.
    """
    function = load(name)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not files:
        raise ValueError(f"{folder}: expected files in it, found none")
    data = [file.read_bytes() for file in files]
    try:
        expected = [function(item) for item in data]
        again = [function(item) for item in data[:_SAMPLES]]
    except Exception as error:  # whatever the user's function raises
        raise ValueError(f"{name} fails on these files: {type(error).__name__}: {error}") from error
    problem = wrong(again, expected[:_SAMPLES])
    if problem is not None:
        raise ValueError(f"{name} answers differently when called again, so no answer can be checked: {problem}")
    work = CallWork(function, name, data, max(1, _ROUND_ITEMS // len(data)), at_once, mapped(data, expected))
    return Case(
        task="call",
        name=f"{name} on {len(data)} files",
        items=len(data),
        total_bytes=sum(map(len, data)),
        bursts=work.bursts,
        work=work,
        expected=expected,
        contenders=contenders_of(__name__, FILES),
    )


def load(name: str) -> Callable[[bytes], Any]:
    """The function that `module:function` names, the current folder first. Raises ValueError."""
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise ValueError(f"expected module:function, got {name!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise ValueError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{module_name} has no {path}")
        found = getattr(found, part)
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise ValueError(f"{name}: expected a plain function that takes bytes, got {found!r}")
    function: Callable[[bytes], Any] = found
    return function


def mapped(data: Sequence[bytes], expected: Sequence[Any]) -> Mapping | None:
    """The hash function of offloop with these answers, found by comparing all of them; None when there is none."""
    for algorithm in sorted(hashing.algorithms_available() & hashlib.algorithms_available):
        first = hashlib.new(algorithm, data[0])
        if not first.digest_size:
            continue
        for form in ("hexdigest", "digest"):
            if _same(getattr(first, form)(), expected[0]) and all(
                _same(getattr(hashlib.new(algorithm, item), form)(), answer)
                for item, answer in zip(data, expected, strict=True)
            ):
                return Mapping(algorithm, form)
    return None


def _same(ours: str | bytes, theirs: Any) -> bool:
    return type(theirs) is type(ours) and bool(theirs == ours)
