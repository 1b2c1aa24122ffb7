"""The real client in a process of its own: it reads HF_ENDPOINT and the other variables when it is imported."""

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
    """Return bytes without a pattern, always the same."""
    return hashlib.shake_256(b"weights").digest(size)


def command(code, *arguments):
    """Return the command line that runs the code, which has json and sys."""
    return [sys.executable, "-c", "import json, sys\n" + code, *map(str, arguments)]


def run(hub, home, code, *arguments, **environment):
    """Run the code with a client that keeps its things in ``home``, and return what it printed, read as JSON."""
    chosen = hub.environment(home, **environment)
    done = subprocess.run(command(code, *arguments), env=chosen, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def publish(hub, home, repo, folder, tag="", **environment):
    """Create the repository, upload the folder and tag it; return the commit."""
    return run(hub, home, PUBLISH, repo, folder, tag, **environment)


def written(folder, files):
    """Write the bytes, by path, into a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def read(folder):
    """Return the bytes of all files in a folder, by path, without those that clients and the Hub add."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != ".gitattributes" and not name.startswith(".cache")}
