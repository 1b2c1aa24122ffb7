"""The real client in a new process, since it reads HF_ENDPOINT and other variables when it is imported."""

import hashlib
import json
import subprocess
import sys

PUBLISH = """
from huggingface_hub import HfApi
repo, folder, tag = sys.argv[1:]
api = HfApi()
api.create_repo(repo, exist_ok=True)
commit = api.upload_folder(repo_id=repo, folder_path=folder).oid
if tag:
    api.create_tag(repo, tag=tag)
print(json.dumps(commit))
"""


def some_bytes(size):
    """Return pseudo-random bytes, the same ones each time."""
    return hashlib.shake_256(b"weights").digest(size)


def command(code, *arguments):
    """Return the command line that runs Python code, with json and sys imported."""
    return [sys.executable, "-c", "import json, sys\n" + code, *map(str, arguments)]


def run(hub, home, code, *arguments, **environment):
    """Run Python code with a client whose files are in ``home``, and return its output, read as JSON."""
    chosen = hub.environment(home, **environment)
    done = subprocess.run(command(code, *arguments), env=chosen, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def publish(hub, home, repo, folder, tag="", **environment):
    """Create the repository, upload the folder and tag it; return the commit."""
    return run(hub, home, PUBLISH, repo, folder, tag, **environment)


def written(folder, files):
    """Write files, bytes by path, into a folder, and return it."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def read(folder):
    """Return the bytes of all files in a folder, by path, without the files that clients and the Hub add."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != ".gitattributes" and not name.startswith(".cache")}
