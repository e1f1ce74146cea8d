"""A self-signed certificate for the origin, made on the spot: no key is ever part of the package."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a certificate and its key, both PEM. The certificate is its own authority (``ca_file``)."""

    certificate: Path
    key: Path


def make_certificate(folder: Path, names: tuple[str, ...] = ("DNS:localhost", "IP:127.0.0.1")) -> Certificate:
    """Make a P-256 key and a self-signed certificate in `folder`, valid for two days, for `names`.

    Raises RuntimeError when the ``openssl`` program is missing or fails; the message holds its words.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("a TLS origin needs the openssl program (Debian: apt-get install openssl), found none")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=" + ",".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl could not make a certificate (exit code {done.returncode}): {done.stderr.strip()}")
    return made
