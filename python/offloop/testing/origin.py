"""The embedded origin's program: ``python -m offloop.testing.origin --port 0`` prints its URL and serves until ended.

Ends at SIGTERM or SIGINT, and with ``--until-stdin-closes`` also when the process that started it is gone. It uses
nothing of offloop's native part (routes: `offloop.testing.routes`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from offloop.testing.http11 import Connection, Server, Stats
from offloop.testing.routes import Routes

if TYPE_CHECKING:
    import ssl

_BACKLOG = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the origin until it is told to end; return the exit code."""
    options = _parser().parse_args(arguments)
    if (options.certificate is None) != (options.key is None):
        print("origin: --certificate and --key belong together, got one of them", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"origin: cannot serve on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="offloop.testing.origin", description="A local HTTP/1.1 origin for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ready-fd", type=int, help="write the URL there instead of to standard output, and close it")
    parser.add_argument("--certificate", help="PEM; makes it an https origin")
    parser.add_argument("--key", help="PEM")
    parser.add_argument("--root", type=Path, help="a folder whose files are served as /files/NAME, read now")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    over = until_told_to_end(options.until_stdin_closes)
    stats = Stats()
    server = Server(Routes(stats, files_of(options.root)), stats)
    context = None if options.certificate is None else tls_context(options.certificate, options.key)
    listener = await listen(options.host, options.port, lambda: Connection(server), context)
    announce(f"{'http' if context is None else 'https'}://{options.host}:{port_of(listener)}", options.ready_fd)

    await over.wait()
    listener.close()
    for connection in list(server.connections):
        connection.closed_by_us = True
        connection.transport.abort()


def files_of(root: Path | None) -> dict[str, bytes]:
    """Name to content of the files directly in `root`. Raises OSError."""
    return {} if root is None else {file.name: file.read_bytes() for file in root.iterdir() if file.is_file()}


# --- for any origin's program ---------------------------------------------------------------------------------------


def until_told_to_end(by_stdin: bool) -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set, and with `by_stdin` also the end of standard input."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if by_stdin:
        loop.add_reader(0, _end_at_eof, over)
    return over


def tls_context(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    """Return a server's context with that certificate."""
    import ssl  # only here: an http origin starts without it

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def listen(
    host: str, port: int, connection: Callable[[], Connection], context: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Listen on `port` (0 takes a free one)."""
    return await asyncio.get_running_loop().create_server(connection, host, port, ssl=context, backlog=_BACKLOG)


def port_of(listener: asyncio.Server) -> int:
    """Return the port that `listener` got."""
    port: int = listener.sockets[0].getsockname()[1]
    return port


def announce(words: str, ready_fd: int | None) -> None:
    """Tell whoever started this program that it serves now: one line."""
    if ready_fd is None:
        print(words, flush=True)
        return
    with contextlib.suppress(BrokenPipeError):  # whoever waited has gone; standard input or a signal will say so
        os.write(ready_fd, f"{words}\n".encode())
    os.close(ready_fd)


def _end_at_eof(over: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asyncio.get_running_loop().remove_reader(0)
        over.set()


if __name__ == "__main__":
    sys.exit(main())
