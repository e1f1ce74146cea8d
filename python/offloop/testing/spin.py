"""An operation that does nothing but keep a worker busy."""

from __future__ import annotations

from offloop._core import Operation
from offloop._core import spin as _spin

_MOST_SECONDS = 86_400


def spin(seconds: float, cooperative: bool = True) -> Operation[None]:
    """Starts an operation that only burns CPU time on a worker of the pool, for tests of timeouts, cancelling and load.

    :param seconds: how long it keeps its worker busy, in seconds of wall-clock time, 0 to 86400.
    :param cooperative: ``True``: it looks at its stop token all the time (at least every 10 ms), so that a cancelled
        one frees its worker at once. ``False``: it goes on to its end whatever happens, as a foreign library does that
        cannot be interrupted: cancelled, its waiters wake at once, but worker and slot are free only at its end.
    :returns: an operation that yields ``None``.
    :raises TypeError: an argument is of the wrong type.
    :raises ValueError: ``seconds`` is out of its range.

    Queued behind others it is like any operation: cancelled, it never runs. With ``when_full="inline"`` and
    ``max_pending`` reached it blocks the loop for ``seconds``. At exit nobody waits for it longer than 250 ms.

    >>> async with asyncio.timeout(0.1):
    ...     await spin(10)  # TimeoutError, and the worker is free again
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"seconds must be a number, not {type(seconds).__name__}")
    if not 0 <= seconds <= _MOST_SECONDS:  # false for nan, too
        raise ValueError(f"seconds must be between 0 and {_MOST_SECONDS}, got {seconds}")
    if not isinstance(cooperative, bool):
        raise TypeError(f"cooperative must be a bool, not {type(cooperative).__name__}")
    return _spin(seconds, cooperative)
