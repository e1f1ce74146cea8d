"""Who runs: from the stack of a thread to the call in the user's own code, and to folded stacks."""

from __future__ import annotations

import ast
import asyncio
import itertools
import linecache
import os
import site
import sysconfig
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import NamedTuple

# Functions in which a thread waits for something to do: it is not blocked there, nor busy.
_IDLE = {
    ("selectors.py", "select"),
    ("threading.py", "wait"),
    ("threading.py", "_wait_for_tstate_lock"),
    ("threading.py", "join"),
    ("thread.py", "_worker"),
    ("queue.py", "get"),
}
_RUN_ONCE = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]
_RUNNER = asyncio.Runner.run.__code__
_OTHERS = tuple(
    os.path.normcase(folder) + os.sep
    for folder in {
        *(
            path
            for name, path in sysconfig.get_paths().items()
            if name in ("stdlib", "platstdlib", "purelib", "platlib")
        ),
        site.getusersitepackages() if site.ENABLE_USER_SITE else sysconfig.get_path("stdlib"),
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    }
)


class Blamed(NamedTuple):
    """A call in somebody's code: what is called, in which function, file and line."""

    call: str
    function: str
    file: str
    line: int


def frames_of(frame: FrameType | None) -> Iterator[FrameType]:
    """The stack, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_idle(frame: FrameType) -> bool:
    """Whether the thread waits for work."""
    return is_waiting_loop(frame) or (os.path.basename(frame.f_code.co_filename), frame.f_code.co_name) in _IDLE


def is_waiting_loop(frame: FrameType) -> bool:
    """Whether an event loop waits for its next event there, and not a function that it has called."""
    if frame.f_code is _RUNNER:
        return True  # a loop without Python frames of its own, such as uvloop's
    caller = frame.f_back
    return frame.f_code.co_name == "select" and caller is not None and caller.f_code is _RUN_ONCE


def blamed(frame: FrameType) -> Blamed | None:
    """The innermost call in the user's own code below the loop, else the innermost one; None: it is the loop itself."""
    called = [*itertools.takewhile(lambda one: one.f_code not in (_RUN_ONCE, _RUNNER), frames_of(frame))]
    if not called:
        return None
    own = next((one for one in called if _is_own(one.f_code.co_filename)), called[0])
    code, line = own.f_code, own.f_lineno or own.f_code.co_firstlineno
    return Blamed(_call_text(own) or code.co_qualname, code.co_qualname, code.co_filename, line)


def folded(frame: FrameType, thread: str) -> str:
    """One line of a folded stack, outermost first, as py-spy writes it."""
    parts = [
        f"{one.f_code.co_name} ({os.path.basename(one.f_code.co_filename)}:{one.f_lineno})" for one in frames_of(frame)
    ]
    return ";".join((thread.replace(";", ","), *reversed(parts)))


def _is_own(filename: str) -> bool:
    return not filename.startswith("<") and not os.path.normcase(os.path.abspath(filename)).startswith(_OTHERS)


def _call_text(frame: FrameType) -> str | None:
    """``json.loads`` of ``json.loads(text)``: what stands in the source where the frame is now."""
    segment = _source_at(frame.f_code, frame.f_lasti)
    if segment is None:
        return None
    try:
        expression = ast.parse(segment.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if isinstance(expression, ast.Await):
        expression = expression.value
    if not isinstance(expression, ast.Call):
        return None
    text = ast.unparse(expression.func)
    return text if len(text) <= 60 else text[:57] + "..."


def _source_at(code: CodeType, offset: int) -> str | None:
    positions = list(code.co_positions())
    if not 0 <= offset // 2 < len(positions):
        return None
    line, last, begin, end = positions[offset // 2]
    if line is None or last is None or begin is None or end is None:
        return None
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(line, last + 1)]
    if not all(lines):
        return None
    lines[-1] = lines[-1][:end]  # columns count bytes
    lines[0] = lines[0][begin:]
    return b"".join(lines).decode(errors="replace")
