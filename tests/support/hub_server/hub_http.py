"""One HTTP request of the test Hub: read it, let a fault strike it, answer it.

Only what the client relies on: keep-alive with Content-Length, bodies of known length or chunked, ranges, redirects.
"""

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_faults import Fault

if TYPE_CHECKING:
    from hub_server import HubServer


@dataclass(frozen=True, slots=True)
class Request:
    """What came in; `path` is unquoted once, `raw_path` is as sent."""

    method: str
    raw_path: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("1", "true")


@dataclass(slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(status, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})})


def refuse(status: int, message: str, code: str | None = None) -> Response:
    """Return an error as the Hub words it: the reason in headers and in the body."""
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return answer({"error": message}, status, headers)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    # Head and body in one packet: in two, the second waits 40 ms for the first one to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: "HubServer"

    def log_message(self, *_: object) -> None:
        """Say nothing; `server.log` keeps what the tests ask about."""

    def do_GET(self) -> None:
        """Serve every method alike."""
        request = self._read()
        fault = self.server.faults.draw(request.method, request.raw_path)
        self.server.note(request)
        if fault and fault.delay_s:
            time.sleep(fault.delay_s)
        if fault and fault.kind == "cut":
            self._hang_up()
        elif fault and fault.kind == "status":
            self._send(Response(fault.status, fault.body, dict(fault.headers)), None)
        else:
            response = self.server.handle(request)
            if fault and fault.kind == "lost":
                self._hang_up()
            else:
                self._send(response, fault)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _read(self) -> Request:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self._read_chunks()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, unquote(parts.path), parse_qs(parts.query), headers, body)

    def _read_chunks(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, response: Response, fault: Fault | None) -> None:
        body = response.body
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(response.status)
            response.headers.setdefault("Content-Length", str(len(body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault and fault.kind == "half":
                self.wfile.write(body[: len(body) // 2])
                self._hang_up()
            elif fault and fault.kind == "slow":
                for start in range(0, len(body), max(1, len(body) // 20)):
                    self.wfile.write(body[start : start + max(1, len(body) // 20)])
                    self.wfile.flush()
                    time.sleep(0.003)
            else:
                self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
