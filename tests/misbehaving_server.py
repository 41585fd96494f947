"""A web server on 127.0.0.1 that hands out files and, when told so, does it badly.

Each request for a path takes the next fault from that path's list; without any left the file is served well, with
ranges, ETag and If-Range.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

LOGIN_PAGE = b"""
<!DOCTYPE html>
<html><head><title>Earthdata Login</title></head><body><form action="/login">password</form></body></html>"""
HDF5 = b"\x89HDF\r\n\x1a\n"

Fault = Callable[["Handler", "File"], None]


@dataclass
class File:
    body: bytes
    faults: list[Fault] = field(default_factory=list)
    ranges: bool = True
    etag: str | None = '"v1"'
    content_type: str = "application/octet-stream"


@dataclass
class Request:
    path: str
    query: str
    headers: dict[str, str]
    time: float


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        parts = urlsplit(self.path)
        with self.server.guard:
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.server.log.append(Request(parts.path, parts.query, headers, time.monotonic()))
            file = self.server.files.get(parts.path)
            fault = file.faults.pop(0) if file and file.faults else None
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        try:
            if file is None:
                status(404)(self, File(b""))
            else:
                (fault or good)(self, file)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.guard:
                self.server.under_way -= 1

    def head(self, code: int, headers: dict[str, object]) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()

    def wanted(self, file: File) -> tuple[int, int]:
        """Status and first byte of what was asked for, by RFC 9110, sections 13.1.5 and 14.2."""
        asked = self.headers.get("Range")
        if not asked or not file.ranges or self.headers.get("If-Range", file.etag) != file.etag:
            return 200, 0
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        return (206, start) if start < len(file.body) else (416, 0)

    def begin(self, file: File) -> bytes:
        """Send the header of a good answer; what is to follow comes back."""
        code, start = self.wanted(file)
        if code == 416:
            self.head(416, {"Content-Range": f"bytes */{len(file.body)}", "Content-Length": 0})
            return b""
        rest = file.body[start:]
        headers = {"Content-Length": len(rest), "Content-Type": file.content_type}
        if file.etag:
            headers["ETag"] = file.etag
        if code == 206:
            headers["Content-Range"] = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
        self.head(code, headers)
        return rest

    def cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """`with Server() as server:`; files by path, what was asked for in `log`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, File] = {}
        self.log: list[Request] = []
        self.guard = threading.Lock()
        self.under_way = self.most_under_way = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, body: bytes, *faults: Fault, **how) -> str:
        self.files[path] = File(body, list(faults), **how)
        return self.address + path

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.log if request.path == path]

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # clients that are killed are part of the tests


def good(handler: Handler, file: File) -> None:
    handler.wfile.write(handler.begin(file))


def status(code: int, body: bytes = b"", **headers: object) -> Fault:
    def fault(handler, file):
        handler.head(code, {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}})
        handler.wfile.write(body)

    return fault


def page(body: bytes = LOGIN_PAGE) -> Fault:
    """200 and a web page, as login services do."""
    return status(200, body, Content_Type="text/html")


def short(n: int) -> Fault:
    """Announce all, send `n` bytes, close."""

    def fault(handler, file):
        handler.wfile.write(handler.begin(file)[:n])
        handler.cut()

    return fault


def silent(seconds: float, after: int | None = None) -> Fault:
    """Say nothing for a while: before the header, or after `after` bytes of the body."""

    def fault(handler, file):
        if after is not None:
            handler.wfile.write(handler.begin(file)[:after])
            handler.wfile.flush()
        time.sleep(seconds)
        handler.cut()

    return fault


def trickle(every: float, n: int = 1) -> Fault:
    """A few bytes now and then, never silent for long."""

    def fault(handler, file):
        body = handler.begin(file)
        for start in range(0, len(body), n):
            handler.wfile.write(body[start : start + n])
            handler.wfile.flush()
            time.sleep(every)

    return fault


def chunked(cut_after: int | None = None) -> Fault:
    """No length announced; with `cut_after` the closing chunk never comes."""

    def fault(handler, file):
        handler.head(200, {"Transfer-Encoding": "chunked"})
        body = file.body[:cut_after]
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        if cut_after is None:
            handler.wfile.write(b"0\r\n\r\n")
        handler.cut()

    return fault


def reset(handler: Handler, file: File) -> None:
    """Close without a word."""
    handler.cut()


def other(body: bytes, **headers: object) -> Fault:
    """Other bytes, well served."""
    return status(200, body, **headers)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """No test here may leave this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        assert address[0] in ("127.0.0.1", "::1"), f"a test reaches out to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(name="server")
def running_server():
    with Server() as running:
        yield running
