"""Types for annotations only."""

from __future__ import annotations

import sys
from typing import Protocol

if sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:

    class Buffer(Protocol):
        """Anything that exports the buffer protocol (PEP 688)."""

        def __buffer__(self, flags: int, /) -> memoryview: ...


__all__ = ["Buffer"]
