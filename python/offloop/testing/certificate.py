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
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    _openssl("req", "-x509", *_request(made, names), "-out", str(made.certificate), "-days", "2")
    return made


def make_expired_certificate(folder: Path, names: tuple[str, ...] = ("DNS:localhost", "IP:127.0.0.1")) -> Certificate:
    """As `make_certificate`, but it was valid for a day in 2020."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    request, settings = folder / "request.pem", folder / "authority.cnf"
    _openssl("req", *_request(made, names), "-out", str(request))
    settings.write_text(_AUTHORITY.format(folder=folder))
    (folder / "index.txt").touch()
    signed = ["-keyfile", str(made.key), "-in", str(request), "-out", str(made.certificate)]
    dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    _openssl("ca", "-config", str(settings), "-selfsign", "-batch", "-notext", *signed, *dates)
    return made


# Only "openssl ca" takes dates.
_AUTHORITY = """\
[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copy
rand_serial = yes
[any]
commonName = supplied
"""


def _request(made: Certificate, names: tuple[str, ...]) -> list[str]:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(made.key)]
    return [*key, "-subj", "/CN=localhost", "-addext", "subjectAltName=" + ",".join(names)]


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise RuntimeError("a TLS origin needs the openssl program (Debian: apt-get install openssl), found none")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl could not make a certificate (exit code {done.returncode}): {done.stderr.strip()}")
