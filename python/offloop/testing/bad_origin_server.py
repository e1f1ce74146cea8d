"""The program behind `BadOrigin`: the embedded origin, with scripts under ``/fault/NAME`` and ports that misbehave."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path

from offloop.testing.bad_origin_fault import CERTIFICATES, End, Repeat, Step
from offloop.testing.bad_origin_table import FAULTS
from offloop.testing.http11 import Connection, Exchange, Reply, Request, Server, Stats
from offloop.testing.origin import announce, listen, port_of, tls_context, until_told_to_end
from offloop.testing.routes import Routes


async def perform(exchange: Exchange, script: Sequence[Step]) -> None:
    """Say and do what `script` says."""
    for step in script:
        if isinstance(step, bytes):
            exchange.write_raw(step)
        elif isinstance(step, Repeat):
            while True:
                await asyncio.sleep(step.seconds)
                exchange.write_raw(step.piece)
                await exchange.writable()
        elif step is End.CLOSE:
            await exchange.hang_up()
        elif step is End.CUT:
            await exchange.cut()
        elif step is End.RESET:
            await exchange.reset()
        else:
            await asyncio.get_running_loop().create_future()


class BadRoutes(Routes):
    """The origin's routes, and the scripts of the faults."""

    def __init__(self, stats: Stats, ports: Mapping[str, int]) -> None:
        super().__init__(stats)
        self._ports = ports
        self._scripts = {fault.path: fault.script for fault in FAULTS if fault.path.startswith("/fault/")}

    def __call__(self, request: Request, exchange: Exchange) -> Reply | Awaitable[None]:
        """Answer `request`."""
        if request.path == "/fault/redirect-plain-as-tls":
            location = f"https://127.0.0.1:{self._ports['tls-plain-http']}/"
            return Reply(302, b"moved\n", (("Location", location),), "text/plain")
        script = self._scripts.get(request.path)
        return super().__call__(request, exchange) if script is None else perform(exchange, script)


class RawConnection(Connection):
    """Runs a script as soon as the client says anything, whatever that is."""

    def __init__(self, server: Server, script: Sequence[Step]) -> None:
        super().__init__(server)
        self._script = script

    def data_received(self, data: bytes) -> None:
        """Begin at the first byte."""
        self.serve(Request("RAW", "*", "", []), lambda exchange: perform(exchange, self._script))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the origin until it is told to end; return the exit code."""
    parser = argparse.ArgumentParser(prog="offloop.testing.bad_origin_server", description="A misbehaving origin.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of plain HTTP; 0 takes a free one")
    parser.add_argument("--ready-fd", type=int, help="write the ports as JSON there instead of to standard output")
    parser.add_argument("--certificates", type=Path, required=True, help="folder of NAME/*.pem")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"origin: cannot serve on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    over = until_told_to_end(options.until_stdin_closes)
    stats = Stats()
    ports: dict[str, int] = {}
    server = Server(BadRoutes(stats, ports), stats)
    listeners = [await listen(options.host, options.port, lambda: Connection(server))]
    ports["http"] = port_of(listeners[0])
    for port, certificate in CERTIFICATES.items():
        folder = options.certificates / certificate
        context = tls_context(folder / "certificate.pem", folder / "key.pem")
        listeners.append(await listen(options.host, 0, lambda: Connection(server), context))
        ports[port] = port_of(listeners[-1])
    for fault in FAULTS:
        if fault.port == "raw":
            factory = partial(RawConnection, server, fault.script)
            listeners.append(await listen(options.host, 0, factory))
            ports[fault.name] = port_of(listeners[-1])
    refused, full = _refusing_socket(options.host), _full_sockets(options.host)
    ports["refused"] = refused.getsockname()[1]
    ports["full"] = full[0].getsockname()[1]

    announce(json.dumps(ports), options.ready_fd)
    await over.wait()
    for listener in listeners:
        listener.close()
    for connection in list(server.connections):
        connection.closed_by_us = True
        connection.transport.abort()
    for sock in (refused, *full):
        sock.close()


def _refusing_socket(host: str) -> socket.socket:
    """A port that nobody else gets, and where nobody listens."""
    held = socket.socket()
    held.bind((host, 0))
    return held


def _full_sockets(host: str) -> list[socket.socket]:
    """A listener whose queue is full, first, and those who fill it: the kernel drops what else comes."""
    listener = socket.create_server((host, 0), backlog=0)
    filling = []
    for _ in range(2):  # one is queued; the second may be, by some kernels' counting
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        filling.append(client)
    return [listener, *filling]


if __name__ == "__main__":
    sys.exit(main())
