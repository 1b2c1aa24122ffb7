"""Xet: how clients with hf_xet send large files unless told not to, and fetch files that were sent in this way.

A file is cut into chunks, chunks are packed into xorbs, and a shard says of which chunks of which xorbs a file consists. This is
the content-addressable storage (CAS) of https://huggingface.co/docs/xet in version 1 of its API, which clients fall back to. The
Hub does not unpack chunks itself: at the commit it fetches the file from itself with hf_xet, checks its sha256, and keeps it like
any other, so that clients without Xet get it, too.
"""

import json
import struct
import time
from itertools import accumulate

from tests.hub.access import commit_of, readable, writable
from tests.hub.routing import route
from tests.hub.state import WrongContentError, atomic_write
from tests.hub.transport import Answer, RefusedError

ENTRY = struct.Struct("<32s4I")  # all entries of a shard have 48 bytes
HEADER = 48  # bytes before the first one
VERIFIED, WITH_METADATA = 1 << 31, 1 << 30  # flags of a file: further entries follow
LAST = b"\xff" * 32
CHUNK_VERSION = 0


class Xorbs:
    """The folder of a CAS: xorbs as they were sent, and the list of pieces that each file consists of."""

    def __init__(self, folder):
        self.xorbs, self.listings = folder / "xet" / "xorbs", folder / "xet" / "files"
        for place in (self.xorbs, self.listings):
            place.mkdir(parents=True, exist_ok=True)
        self.files = {path.stem: json.loads(path.read_text()) for path in self.listings.glob("*.json")}

    def hash_of(self, sha256):
        """Return the Xet hash of a content, None if it was not sent by Xet."""
        return next((name for name, file in self.files.items() if file["sha256"] == sha256), None)

    def add(self, shard):
        """Add the files that a shard describes."""
        for name, file in described_files(shard):
            missing = {term["hash"] for term in file["terms"] if not (self.xorbs / term["hash"]).exists()}
            if missing:
                raise RefusedError(400, f"the xorbs {missing} were not uploaded")
            with atomic_write(self.listings / f"{name}.json") as stream:
                stream.write(json.dumps(file).encode())
            self.files[name] = file


def described_files(shard):
    """Yield the Xet hash, the sha256 and the terms of each file in a shard."""
    entries = ENTRY.iter_unpack(shard[HEADER : len(shard) - (len(shard) - HEADER) % ENTRY.size])
    for name, flags, count, *_ in entries:
        if name == LAST:
            return
        segments = [next(entries) for _ in range(count)]
        for _ in range(count if flags & VERIFIED else 0):
            next(entries)
        sha256 = printed(next(entries)[0]) if flags & WITH_METADATA else None
        terms = [
            {"hash": printed(xorb), "unpacked_length": size, "range": {"start": start, "end": end}}
            for xorb, _, size, start, end in segments
        ]
        yield printed(name), {"sha256": sha256, "terms": terms}


def printed(name):
    """Return a hash as it is printed: four little-endian numbers."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", name))


def chunk_offsets(xorb):
    """Return where each chunk of a xorb begins, and where the last one ends."""
    sizes, at = [0], 0
    while at + 8 <= len(xorb) and xorb[at] == CHUNK_VERSION:
        sizes.append(8 + int.from_bytes(xorb[at + 1 : at + 4], "little"))
        at += sizes[-1]
    return list(accumulate(sizes))


@route("GET", "/api/models/{repo}/xet-write-token/{rev}")
def write_token(hub, request, repo, rev):
    commit_of(writable(hub, request, repo), rev)
    return connection(hub, "write")


@route("GET", "/api/models/{repo}/xet-read-token/{rev}")
def read_token(hub, request, repo, rev):
    commit_of(readable(hub, request, repo), rev)
    return connection(hub, "read")


def connection(hub, role):
    """Return the address of the CAS and a token for it, in headers for Python and in the body for Rust."""
    url, token, until = f"{hub.endpoint}/xet", hub.ticket("xet", role), int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(until)}
    return Answer.json({"casUrl": url, "accessToken": token, "exp": until}, **headers)


def check(hub, request, *roles):
    if request.token not in [hub.ticket("xet", role) for role in roles]:
        raise RefusedError(401, "this token is none for Xet")


@route("POST", "/xet/v1/xorbs/default/{xorb}")
def put_xorb(hub, request, xorb):
    check(hub, request, "write")
    new = not (hub.xorbs.xorbs / xorb).exists()
    with atomic_write(hub.xorbs.xorbs / xorb) as stream:
        stream.writelines(request.pieces())
    return Answer.json({"was_inserted": new})


@route("POST", "/xet/v1/shards")
def put_shard(hub, request):
    check(hub, request, "write")
    hub.xorbs.add(request.body())
    return Answer.json({"result": 1})


@route("GET", "/xet/v1/reconstructions/{file}")
def reconstruction(hub, request, file):
    check(hub, request, "read", "write")
    if file not in hub.xorbs.files:
        raise RefusedError(404, f"no file has the Xet hash {file}")
    terms = hub.xorbs.files[file]["terms"]
    ends = list(accumulate(term["unpacked_length"] for term in terms))
    first, last = asked_range(request, ends[-1])
    chosen = [(term, end) for term, end in zip(terms, ends, strict=True) if end > first and end - term["unpacked_length"] <= last]
    pieces = {}
    for term, _ in chosen:
        pieces.setdefault(term["hash"], []).append(piece(hub, term))
    before = first - (chosen[0][1] - chosen[0][0]["unpacked_length"])
    return Answer.json({"offset_into_first_range": before, "terms": [term for term, _ in chosen], "fetch_info": pieces})


def asked_range(request, size):
    """Return the first and the last byte of a file that a reconstruction is for."""
    first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    if int(first) >= size:
        raise RefusedError(416, f"the file has {size} bytes")
    return int(first), min(int(last or size), size) - (not last)


def piece(hub, term):
    """Return the url and the range of bytes that have the chunks of a term."""
    chunks, offsets = term["range"], chunk_offsets((hub.xorbs.xorbs / term["hash"]).read_bytes())
    url = f"{hub.endpoint}/xet/xorbs/{term['hash']}/{hub.ticket(term['hash'], 'read')}"
    return {"range": chunks, "url": url, "url_range": {"start": offsets[chunks["start"]], "end": offsets[chunks["end"]] - 1}}


@route("GET", "/xet/xorbs/{xorb}/{ticket}")
def get_xorb(hub, _, xorb, ticket):
    if ticket != hub.ticket(xorb, "read"):
        raise RefusedError(403, "this url was not given out by this Hub")
    return Answer(200, hub.xorbs.xorbs / xorb, {"Content-Type": "application/octet-stream"}, ranges=True)


def fetch_missing(hub, sha256):
    """Store a file that was sent by Xet like any other: the Hub downloads it from itself, as a client does."""
    name = hub.xorbs.hash_of(sha256)
    if name is None or hub.has(sha256):
        return
    from hf_xet import XetFileInfo, XetSession  # installed wherever a client sends by Xet

    size = sum(term["unpacked_length"] for term in hub.xorbs.files[name]["terms"])
    group = XetSession().new_download_stream_group(
        endpoint=f"{hub.endpoint}/xet", token=hub.ticket("xet", "read"), token_expiry_unix_secs=int(time.time()) + 3600
    )
    try:
        hub.store.receive(group.download_stream(XetFileInfo(name, size)), sha256, size)
    except WrongContentError as error:
        raise RefusedError(400, str(error)) from error
