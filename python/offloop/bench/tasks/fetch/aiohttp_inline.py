"""aiohttp, hashlib on the loop's thread."""

from __future__ import annotations

from offloop.bench.model import Contender
from offloop.bench.tasks.fetch.aiohttp_client import SETTINGS, aiohttp_client

CONTENDERS = [Contender("aiohttp, hashlib inline", "asyncio", SETTINGS, aiohttp_client, classic=True)]
