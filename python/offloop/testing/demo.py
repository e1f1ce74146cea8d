"""``python -m offloop.testing.demo``: the main job on a local origin, every digest verified, beside plain asyncio.

The origin runs in processes of its own (nginx for the plain files when it is installed); no network is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import offloop
from offloop.testing import NginxOrigin, Origin, body_blocks, body_sha256, find_nginx, png_image
from offloop.testing.routes import SMALL_PAGE

_CONCURRENCY = 64
_TIMEOUT_SECONDS = 3.0
_SMALL_COUNT = 400
_WIDE = 120  # columns in which a digest fits into one line beside its URL
_ROUTES = {"page.html": "/", "picture.png": "/image.png"}  # where the embedded origin has the same


@dataclass(frozen=True, slots=True)
class Target:
    """One URL of the job: its digest, or the class of the error that it must give."""

    url: str
    size: int
    sha256: str | None = None
    error: type[Exception] | None = None
    slow: bool = False  # on purpose: says nothing about throughput


@dataclass(slots=True)
class Outcome:
    """What one variant made of the targets."""

    name: str
    seconds: float
    cpu_seconds: float
    results: dict[str, str | BaseException]


@contextlib.contextmanager
def _origins() -> Iterator[tuple[Origin, NginxOrigin | None, list[Target]]]:
    with tempfile.TemporaryDirectory(prefix="offloop-demo-") as folder, Origin() as origin:
        files = _write_files(Path(folder))
        os.chmod(folder, 0o755)
        with contextlib.ExitStack() as stack:
            nginx = stack.enter_context(NginxOrigin(folder)) if find_nginx() else None
            yield origin, nginx, _targets(origin, nginx, files)


def _write_files(folder: Path) -> dict[str, tuple[int, str]]:
    """The plain files, with size and digest by hashlib."""
    files: dict[str, tuple[int, str]] = {}
    for name, content in (("page.html", SMALL_PAGE), ("picture.png", png_image())):
        (folder / name).write_bytes(content)
        files[name] = (len(content), hashlib.sha256(content).hexdigest())
    sizes = {"10MB.bin": 10_000_000, "100MB.bin": 100_000_000}
    sizes |= {f"small-{i}.bin": 1000 * (1 + i % 100) for i in range(_SMALL_COUNT)}
    for name, size in sizes.items():
        with (folder / name).open("wb") as file:
            for block in body_blocks(size, name):
                file.write(block)
        files[name] = (size, body_sha256(size, name))
    return files


def _targets(origin: Origin, nginx: NginxOrigin | None, files: dict[str, tuple[int, str]]) -> list[Target]:
    targets = []
    for name, (size, digest) in files.items():
        if nginx is not None:
            url = nginx.url("/" + name)
        else:
            url = origin.url(_ROUTES.get(name, f"/bytes/{size}?seed={name}"))
        targets.append(Target(url, size, digest))
    targets += [
        Target(origin.url("/redirect-to?url=/bytes/5000?seed=moved"), 5000, body_sha256(5000, "moved")),
        Target(origin.url("/slow?seconds=0.5&bytes=16"), 16, body_sha256(16), slow=True),
        Target(origin.url("/slow?seconds=60"), 0, error=offloop.FetchTimeoutError),
        Target(origin.url("/status/500"), 0, error=offloop.HTTPStatusError),
        Target(origin.url("/short?claim=5000&send=100"), 0, error=offloop.IncompleteBodyError),
        Target("http://127.0.0.1:1/", 0, error=offloop.ConnectError),
    ]
    return targets


async def _with_offloop(targets: list[Target]) -> dict[str, str | BaseException]:
    return dict(
        await offloop.fetch_and_hash_urls(
            [target.url for target in targets], _CONCURRENCY, timeout=_TIMEOUT_SECONDS, return_exceptions=True
        )
    )


async def _with_aiohttp(targets: list[Target]) -> dict[str, str | BaseException]:
    import aiohttp

    results: dict[str, str | BaseException] = {}
    queue = iter(targets)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=_CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, raise_for_status=True) as session:

        async def worker() -> None:
            for target in queue:
                try:
                    async with session.get(target.url) as response:
                        hasher = hashlib.sha256()
                        async for chunk in response.content.iter_any():
                            hasher.update(chunk)
                    results[target.url] = hasher.hexdigest()
                except Exception as error:  # every kind of failure is a result of the demo
                    results[target.url] = error

        await asyncio.gather(*(worker() for _ in range(_CONCURRENCY)))
    return results


def _run(name: str, targets: list[Target]) -> Outcome:
    job = _with_offloop if name == "offloop" else _with_aiohttp
    wall, cpu = time.perf_counter(), time.process_time()
    results = asyncio.run(job(targets))
    return Outcome(name, time.perf_counter() - wall, time.process_time() - cpu, results)


def _verify(outcome: Outcome, targets: list[Target]) -> list[str]:
    """What is wrong, in words; empty when all is as it must be."""
    wrong = []
    for target in targets:
        got = outcome.results.get(target.url)
        if target.error is not None:
            if outcome.name == "offloop" and not isinstance(got, target.error):
                wrong.append(f"{target.url}: expected {target.error.__name__}, got {got!r}")
            elif not isinstance(got, BaseException):
                wrong.append(f"{target.url}: expected a failure, got {got!r}")
        elif got != target.sha256:
            wrong.append(f"{target.url}: expected {target.sha256}, got {got!r}")
    return wrong


def _show(outcome: Outcome, targets: list[Target]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(title="what came (small files left out)", title_justify="left")
    for column in ("URL", "bytes", "SHA-256 or error"):
        width = 64 if column.startswith("SHA") and console.width >= _WIDE else None
        table.add_column(column, overflow="fold", justify="right" if column == "bytes" else "left", min_width=width)
    for target in targets:
        if "/small-" in target.url or "seed=small-" in target.url:
            continue
        got = outcome.results[target.url]
        text = got if isinstance(got, str) else f"{type(got).__name__}: {got}"
        table.add_row(target.url, str(target.size) if isinstance(got, str) else "-", text)
    console.print(table)


def _summary(outcome: Outcome, wall_seconds: float, targets: list[Target]) -> str:
    bytes_total = sum(target.size for target in targets if isinstance(outcome.results.get(target.url), str))
    return (
        f"{outcome.name:>8}: {len(targets)} URLs, {bytes_total / 1e6:.0f} MB in {wall_seconds:.2f} s = "
        f"{len(targets) / wall_seconds:.0f} URLs/s, {bytes_total / 1e6 / wall_seconds:.0f} MB/s; "
        f"{outcome.cpu_seconds:.2f} s of this process's CPU"
    )


def main() -> int:
    """Runs the demo; 0 when every digest and every error is as it must be."""
    info = offloop.build_info()
    print(f"offloop {offloop.__version__}, Python {platform.python_version()}, {info['cpu']}, {os.cpu_count()} CPUs")
    try:
        import aiohttp
    except ImportError:
        variants = ["offloop"]
        print("aiohttp is not installed: the asyncio variant is left out (pip install aiohttp)")
    else:
        variants = ["asyncio", "offloop"]
        print(f"the asyncio variant: aiohttp {aiohttp.__version__} and hashlib, {_CONCURRENCY} connections as well")
    with _origins() as (_, nginx, targets):
        print(f"origin: {'nginx and ' if nginx else ''}the embedded one, on loopback, sharing these CPUs\n")
        plain = [target for target in targets if target.sha256 is not None and not target.slow]
        wrong: list[str] = []
        lines = []
        for name in variants:
            # All of them once, for the answers; then those that are plain downloads, for the throughput: the slow and
            # the failing ones cost a time-out, which says nothing about either.
            outcome = _run(name, targets)
            wrong += [f"{name}: {line}" for line in _verify(outcome, targets)]
            timed = min((_run(name, plain) for _ in range(3)), key=lambda run: run.seconds)
            wrong += [f"{name}: {line}" for line in _verify(timed, plain)]
            lines.append(_summary(timed, timed.seconds, plain))
            if name == "offloop":
                _show(outcome, targets)
    print("\nthe downloads that succeed, best of three:")
    print("\n".join(lines))
    if len(variants) == 2:
        print(
            " asyncio is limited by its one thread, which parses, copies and hashes every body;\n"
            " offloop by libcurl on one I/O thread and by the origin, which shares the CPUs; its loop thread sleeps."
        )
    for line in wrong:
        print("WRONG", line)
    if not wrong:
        print("\nevery digest is hashlib's, every failure is of its class")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
