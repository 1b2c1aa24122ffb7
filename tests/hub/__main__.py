"""Start a Hub by hand, to try publishing and pulling without an account."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

GREETING = """\
A Hugging Face Hub for trying things out, at {endpoint}; it keeps what is published in {folder}.
In another terminal:

    export HF_ENDPOINT={endpoint} HF_TOKEN={token} HF_HOME={home} NO_PROXY=127.0.0.1

Repositories are named {owner}/NAME, or ORGANISATION/NAME. Ctrl-C ends it."""


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--folder", type=Path, help="keeps what is published (default: a temporary one, deleted at the end)")
    chosen = parser.parse_args()
    with TemporaryDirectory(prefix="hub-") as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        serve(folder, chosen.port)


def serve(folder, port):
    """Serve until Ctrl-C."""
    os.environ["HF_HOME"] = str(folder / "own")  # where hf_xet writes its logs when it assembles files for the Hub
    from tests.hub.server import OWNER, Hub

    for end in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(end, signal.default_int_handler)
    try:
        hub = Hub(folder, port)
    except OSError as error:
        sys.exit(f"port {port}: {error.strerror}")
    with hub:
        home = folder / "client"
        greeting = GREETING.format(endpoint=hub.endpoint, folder=folder, token=hub.token, owner=OWNER, home=home)
        print(greeting, flush=True)  # noqa: T201
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\nEnded.")  # noqa: T201


if __name__ == "__main__":
    main()
