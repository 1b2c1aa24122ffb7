"""Requests and answers over HTTP/1.1; bodies are read before answering, ranges work, and an answer can be cut or slow."""

import json
import re
import socket
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 16


class GoneError(ConnectionError):
    """The client went away before the end of its request."""


@dataclass
class Answer:
    """The answer to a request: a body of bytes or the path of a file; ``cut`` and ``rate`` (bytes/s) disturb its sending."""

    status: int = 200
    body: bytes | Path = b""
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = False
    cut: int | None = None
    rate: float | None = None

    @classmethod
    def json(cls, content, status=200, **headers):
        return cls(status, json.dumps(content, default=str).encode(), {"Content-Type": "application/json"} | headers)

    def size(self):
        return self.body.stat().st_size if isinstance(self.body, Path) else len(self.body)

    def content(self):
        return self.body.read_bytes() if isinstance(self.body, Path) else self.body


class RefusedError(Exception):
    """An error to answer a request with, in the headers that the client reads."""

    def __init__(self, status, message, code=None, **headers):
        super().__init__(message)
        known = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer = Answer.json({"error": message}, status, **known, **headers)


@dataclass
class Request:
    """A request in the log; ``status`` is None until it is answered."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    stream: object = field(repr=False, default=None)
    wait: object = field(repr=False, default=None)
    rate: float | None = None
    status: int | None = None

    def __post_init__(self):
        self.left = int(self.headers.get("content-length", 0))

    @property
    def token(self):
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    def pieces(self):
        """Yield the rest of the body, at most ``rate`` bytes a second.

        Raises:
            GoneError: The body ended early.
        """
        while self.left:
            piece = self.stream.read(min(self.left, PIECE))
            if not piece:
                raise GoneError(f"{self.method} {self.path}: {self.left} bytes are missing")
            self.left -= len(piece)
            if self.rate:
                self.wait(len(piece) / self.rate)
            yield piece

    def body(self):
        return b"".join(self.pieces())

    def json(self):
        return json.loads(self.body() or b"{}")

    def form(self):
        return parse_qs(self.body().decode())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each answer waits 40 ms for the acknowledgement of its headers

    def handle_any(self):
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, query, headers, self.rfile, self.server.stopping.wait)
        answer = self.server.respond(request)
        for _ in request.pieces():
            pass
        if answer is None:
            self.hang_up()
        else:
            request.status = self.send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  (http.server's names)

    def send(self, answer):
        status, start, stop, headers = chosen_range(answer, self.headers.get("Range"))
        self.send_response(status)
        for name, value in (answer.headers | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(answer, start, stop)
        return status

    def send_body(self, answer, start, stop):
        end = stop if answer.cut is None else min(stop, start + answer.cut)
        with answer.body.open("rb") if isinstance(answer.body, Path) else BytesIO(answer.body) as stream:
            stream.seek(start)
            step = int(answer.rate / 20) + 1 if answer.rate else PIECE  # 20 pieces a second
            for at in range(start, end, step):
                if answer.rate:
                    self.server.stopping.wait(1 / 20)
                self.wfile.write(stream.read(min(step, end - at)))
        if end < stop:
            self.hang_up()

    def hang_up(self):
        """End the connection with FIN; after RST, clients would not retry."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)

    def log_message(self, *_):
        pass  # the log is the list of requests


def chosen_range(answer, asked):
    """Return status, start, stop and further headers of the answer to a header ``Range``."""
    size = answer.size()
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if not (answer.ranges and match and answer.status == 200):
        return answer.status, 0, size, {}
    start, stop = int(match[1]), min(int(match[2] or size) + bool(match[2]), size)
    if start >= stop:
        return 416, size, size, {"Content-Range": f"bytes */{size}"}
    return 206, start, stop, {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}


class Server(ThreadingHTTPServer):
    """A server with a thread for each connection, which ends after all threads; ``respond`` maps a request to an answer."""

    daemon_threads = False  # closing waits for the threads
    request_queue_size = 128

    def __init__(self, port, respond):
        super().__init__(("127.0.0.1", port), Handler)
        self.respond, self.stopping, self.connections, self.failures = respond, threading.Event(), set(), []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def process_request(self, connection, address):
        self.connections.add(connection)
        super().process_request(connection, address)

    def shutdown_request(self, connection):
        self.connections.discard(connection)
        super().shutdown_request(connection)

    def handle_error(self, connection, address):
        failure = sys.exception()
        if not isinstance(failure, ConnectionError):
            self.failures.append(failure)
            super().handle_error(connection, address)

    def stop(self):
        self.stopping.set()
        self.shutdown()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client has closed it already
        self.server_close()
