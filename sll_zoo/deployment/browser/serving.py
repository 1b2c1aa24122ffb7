"""A server of static files on this machine, for the page."""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sll_zoo.errors import ConfigError


class _Handler(SimpleHTTPRequestHandler):
    """Files with the types that browsers insist on, and no line for each request."""

    extensions_map = {  # noqa: RUF012 - as the standard library declares it
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """A server that says nothing of browsers which leave in the middle of a file."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server_of(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the files of a folder, for this machine alone; its ``serve_forever`` runs it.

    Args:
        folder: What to serve.
        port: The port; 0 for any that is free.

    Raises:
        ConfigError: The port is taken, or is none.
    """
    try:
        return _Server(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} cannot be used ({error})", "choose another one, or 0 for any that is free") from error
