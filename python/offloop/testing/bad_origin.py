"""`BadOrigin`: an origin that misbehaves in more than a hundred ways, each with the error that it must give.

The table (docs/bad-origin.md) is also the specification of offloop's classes of fetch errors: every way to fetch is
tested against every line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from offloop.testing.bad_origin_fault import CERTIFICATES, MAX_BODY_BYTES, Fault
from offloop.testing.bad_origin_table import FAULTS
from offloop.testing.certificate import make_certificate, make_expired_certificate
from offloop.testing.process import Origin

__all__ = ["BadOrigin", "Fault"]


class BadOrigin(Origin):
    """A local origin, in a process of its own, that does to a client what the internet does.

        with BadOrigin() as origin:
            async with Fetcher(**origin.options, timeout=0.5) as fetcher:
                for fault in origin.faults:
                    with pytest.raises(fault.error or ()):
                        await fetcher.get(origin.url(fault))

    Faults of the group "delay", and every other whose error is `FetchTimeoutError`, end by the client's timeouts only:
    give it short ones. It serves all paths of `Origin` as well, over plain HTTP.

    Attributes:
        faults: the table, see `Fault`.
        ca_file: PEM; trusts all its certificates but the one of the fault "tls-untrusted".
    """

    faults: ClassVar[tuple[Fault, ...]] = FAULTS

    _program = "offloop.testing.bad_origin_server"

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        super().__init__(host=host)
        self._ports: dict[str, int] = {}

    @classmethod
    def fault(cls, name: str) -> Fault:
        """Return the fault of that name. Raises KeyError when there is none."""
        for fault in cls.faults:
            if fault.name == name:
                return fault
        raise KeyError(name)

    def url(self, target: Fault | str = "/") -> str:
        """Return the URL of a fault, or of a path of the origin."""
        if isinstance(target, str):
            return super().url(target)
        super().url()  # raises when it does not run
        port = self._ports[target.name if target.port == "raw" else target.port]
        return f"{target.scheme}://{self._host}:{port}{target.path}"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for a `Fetcher` that shows every fault as the table says."""
        return {"ca_file": self.ca_file, "max_body": MAX_BODY_BYTES, "env_proxy": False}

    def _arguments(self) -> list[str]:
        folder = self._make_folder()
        trusted = folder / "trusted.pem"
        for name in CERTIFICATES.values():
            own = folder / name
            own.mkdir()
            make = make_expired_certificate if name == "expired" else make_certificate
            made = make(own, ("DNS:elsewhere.test",)) if name == "wrong-name" else make(own)
            if name != "untrusted":
                with trusted.open("a") as bundle:
                    bundle.write(Path(made.certificate).read_text())
        self.ca_file = str(trusted)
        return ["--certificates", str(folder)]

    def _hear(self, words: str) -> str:
        self._ports = json.loads(words)
        return f"http://{self._host}:{self._ports['http']}"
