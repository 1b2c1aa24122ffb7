"""Choosing the function that answers a request, by templates of raw paths, in which an escaped slash belongs to a revision."""

import re
from urllib.parse import unquote

from tests.hub.transport import RefusedError

HASH = "[0-9a-f]{64}"
PARTS = {"repo": "[^/]+/[^/]+", "path": ".*", "oid": HASH, "xorb": HASH, "file": HASH, "size": "[0-9]+"}  # other parts are [^/]+
ROUTES = []


def route(method, template):
    """Register the decorated function for a method and a template; it gets the Hub, the request and the unquoted parts."""
    pattern = re.sub(r"\\{(\w+)\\}", lambda part: f"(?P<{part[1]}>{PARTS.get(part[1], '[^/]+')})", re.escape(template))

    def enter(function):
        ROUTES.append((method, re.compile(pattern + "/?"), function))
        return function

    return enter


def answer(hub, request):
    """Return the answer of the function that is registered for the request."""
    method = "GET" if request.method == "HEAD" else request.method
    for known, pattern, function in ROUTES:
        match = pattern.fullmatch(request.path)
        if known == method and match:
            parts = {name: unquote(part) for name, part in match.groupdict().items()}
            return function(hub, request, **parts)
    raise RefusedError(404, f"{request.method} {request.path} is nothing that this Hub knows")
