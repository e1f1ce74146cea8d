"""Helpers for tests, demos and benchmarks: local origins whose every byte is known in advance, and an operation that
only takes time. Needs no network.

>>> with Origin() as origin:
...     digests = asyncio.run(offloop.fetch_and_hash_urls([origin.url("/bytes/1024?seed=3")]))
>>> assert list(digests.values()) == [body_sha256(1024, 3)]
"""

from __future__ import annotations

from offloop.testing.bad_origin import BadOrigin, Fault
from offloop.testing.bodies import body_blocks, body_bytes, body_sha256, png_image
from offloop.testing.nginx import NginxOrigin, find_nginx
from offloop.testing.process import Origin, OriginStats
from offloop.testing.spin import spin

__all__ = [
    "BadOrigin",
    "Fault",
    "NginxOrigin",
    "Origin",
    "OriginStats",
    "body_blocks",
    "body_bytes",
    "body_sha256",
    "find_nginx",
    "png_image",
    "spin",
]
