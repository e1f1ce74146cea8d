"""The version, as the installed package's metadata has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(name)
    import importlib.metadata

    return importlib.metadata.version("offloop")
