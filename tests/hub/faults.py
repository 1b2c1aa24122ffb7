"""Faults between a client and the Hub, on demand: ``hub.fault(cut(after=20_000_000), "*.safetensors", "GET", times=1)``.

Each function here returns a fault: a function of the request and of ``truth``. Calling ``truth`` does what was asked and returns
the true answer. A fault returns the answer to send, or None to hang up without one. Faults that change an answer leave refusals
as they are.
"""

from dataclasses import replace

from tests.hub.transport import RefusedError

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Too many people want this file.</body></html>\n"
INVERTED = bytes(range(255, -1, -1))


def status(code, retry_after=None):
    """Answer with an error instead of doing what was asked."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda _, __: RefusedError(code, f"status {code} was ordered", **headers).answer


def unanswered():
    """Do nothing, and hang up."""
    return lambda _, __: None


def answer_lost():
    """Do what was asked, and hang up: the client cannot know that it was done."""
    return lambda _, truth: truth() and None


def delayed(seconds):
    """Wait before doing anything."""
    return lambda request, truth: request.wait(seconds) or truth()


def throttled(rate):
    """Receive the body of the request, and send the body of the answer, at ``rate`` bytes a second."""

    def fault(request, truth):
        request.rate = rate
        return replace(truth(), rate=rate)

    return fault


def cut(after):
    """Announce the whole body, send ``after`` bytes of it, and hang up."""
    return spoilt(lambda answer: replace(answer, cut=after))


def wrong_bytes():
    """Send a file of the same size whose second half is inverted."""
    return other_content(lambda content: content[: len(content) // 2] + content[len(content) // 2 :].translate(INVERTED))


def truncated(size):
    """Send the first ``size`` bytes as if they were the whole file."""
    return other_content(lambda content: content[:size])


def oversized(extra):
    """Send ``extra`` zero bytes more, as if they belonged to the file."""
    return other_content(lambda content: content + bytes(extra))


def html_page():
    """Send a web page with status 200, as file hosts do that want a visitor to click first."""
    return other_content(lambda _: PAGE)


def wrong_etag(etag="0" * 64):
    """Send the file with a hash that is not its own."""
    return spoilt(lambda answer: replace(answer, headers=answer.headers | {"ETag": f'"{etag}"'}))


def other_content(change):
    """Send ``change(bytes)`` in place of the bytes of a file."""
    return spoilt(lambda answer: replace(answer, body=change(answer.content())))


def spoilt(spoil):
    """Return a fault that does what was asked and then changes the answer by ``spoil``, unless it is a refusal."""

    def fault(_, truth):
        answer = truth()
        return spoil(answer) if answer.status == 200 else answer

    return fault
