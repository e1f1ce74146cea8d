"""A server of pictures for tests: any path, as they may be called out there."""

from __future__ import annotations

import http.server
import threading
from types import TracebackType


class PictureServer:
    """Answers each path that `pictures` names with its bytes, and every other path with `other`, or 404."""

    def __init__(self, pictures: dict[str, bytes], other: bytes | None = None) -> None:
        self.targets: list[str] = []
        served = self.targets

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                served.append(self.path)
                body = pictures.get(self.path.partition("?")[0], other)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.send_header("Connection", "close")  # kept alive it would keep its thread
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> PictureServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
