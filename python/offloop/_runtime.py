"""The settings and counters of the process's worker pool."""

from __future__ import annotations

from typing import Any, Literal

from . import _core

WhenFull = Literal["wait", "raise", "inline"]
_WHEN_FULL = ("wait", "raise", "inline")


def configure(
    *, threads: int | None = None, max_pending: int | None = None, when_full: WhenFull | None = None
) -> dict[str, Any]:
    """Changes the process's pool, before or after its first use; what is not given stays as it is.

    :param threads: worker threads, 1 to 1024. Default: the CPUs this process may use (affinity and cgroup quota), or
        ``OFFLOOP_THREADS``.
    :param max_pending: operations in flight before ``when_full`` applies. Default: 1024 for each worker.
    :param when_full: ``"wait"`` (default): a further operation waits for its turn without taking its buffer; the loop
        is not blocked. ``"raise"``: :class:`offloop.PoolSaturatedError`. ``"inline"``: it runs on the loop's thread.
    :returns: the settings in force.
    :raises ValueError: a value out of its range.
    :raises TypeError: a value of the wrong type.
    """
    for name, value, most in (("threads", threads, 1024), ("max_pending", max_pending, 2**31 - 1)):
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if not 1 <= value <= most:
            raise ValueError(f"{name} must be between 1 and {most}, got {value}")
    if when_full is not None and when_full not in _WHEN_FULL:
        raise ValueError(f"when_full must be one of {', '.join(_WHEN_FULL)}; got {when_full!r}")
    _core.configure(threads or 0, max_pending or 0, when_full or "")
    return _core.configuration()


def build_info() -> dict[str, Any]:
    """What was built and what was found on this machine.

    ``cpu``, ``cpu_features``, ``rates`` (the table of speeds that chooses), ``kernels`` (which SHA-256 kernels run how
    many streams), ``cpu_mode`` and ``cpu_problem`` (``OFFLOOP_CPU``), ``default_threads``, ``openssl``, ``compiler``,
    ``abi``, ``counters``.
    """
    return _core.build_info()


def stats() -> dict[str, Any]:
    """Counters of the pool since the process started; cheap, always on.

    Counts: ``threads``, ``sleeping`` workers, ``in_flight`` and ``parked`` operations, ``queued`` and ``running``
    works, ``done``, ``stopped``, ``failed``, ``inlined`` (ran on the loop at once), ``bytes`` hashed, ``quanta``
    (batches run), ``lane_fill`` (mean works a batch, refills included: it can exceed 16), ``wakes``, ``drains``.
    Latency histograms in nanoseconds, bucket *i* counting [2**(i-1), 2**i): ``queue_ns`` (submit to start), ``run_ns``
    (start to end), ``deliver_ns`` (end to the loop).
    """
    return _core.stats()
