"""What the system tells of a process that somebody wants to look into."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path

from offloop.profiling.tools import is_core_thread

_PYTHON = re.compile(r"^(?:lib)?python(3\.\d+t?)(?:\.so.*)?$")


def own_python() -> str:
    """``3.14``, or ``3.14t`` for a free-threaded one."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}{'t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''}"


def check(pid: int) -> None:
    """Whether it is a process, and lives.

    :raises ProcessLookupError: it is none; the words say what it is instead.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise ProcessLookupError(f"there is no process {pid}") from None
    except PermissionError:
        pass  # there is one, of somebody else
    status = _status(pid)
    if status.get("Tgid", str(pid)) != str(pid):
        raise ProcessLookupError(f"{pid} is a thread of process {status['Tgid']}: give that number")
    if status.get("State", "").startswith(("Z", "X")):
        raise ProcessLookupError(f"process {pid} has ended already, and waits for its parent to ask how")


def lives(pid: int) -> bool:
    """Whether it is there and has not ended."""
    try:
        check(pid)
    except ProcessLookupError:
        return False
    return True


def python_of(pid: int) -> str:
    """The version of its CPython by the names of its files, ``3.14`` or ``3.14t``; empty when none of them is one.

    :raises PermissionError: it belongs to somebody else; the words say to whom.
    """
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except PermissionError:
        raise PermissionError(_not_ours(pid)) from None
    except OSError:  # it ends just now
        return ""
    for line in maps.splitlines():
        if found := _PYTHON.match(os.path.basename(line.removesuffix(" (deleted)"))):
            return found[1]
    return ""


def program_of(pid: int) -> str:
    """What the system calls it."""
    return _status(pid).get("Name", "?")


def user_of(pid: int) -> int | None:
    """The user by whose rights it opens files; None: it is not told."""
    users = _status(pid).get("Uid", "").split()
    return int(users[-1]) if users else None


def sees_our_files(pid: int) -> bool:
    """Whether it has our view of the file system: one in a container has not."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return True  # not told: what is tried next says more


def has_core_threads(pid: int) -> bool:
    """Whether threads of offloop's core run in it, with Python or without."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    return any(is_core_thread(_first_line(f"/proc/{pid}/task/{thread}/comm")) for thread in threads)


def _not_ours(pid: int) -> str:
    user = user_of(pid)
    if user == os.geteuid():
        return f"the system lets nobody but root look into process {pid}"
    owner = "another user" if user is None else f"user {user}"
    return f"process {pid} belongs to {owner}, this is user {os.geteuid()}: run it as that user or as root"


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
