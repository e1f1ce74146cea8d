"""The version, as the installed package's metadata has it.

Imported on first use: reading the metadata takes milliseconds.
"""

from __future__ import annotations

import importlib.metadata

__version__: str = importlib.metadata.version("offloop")
