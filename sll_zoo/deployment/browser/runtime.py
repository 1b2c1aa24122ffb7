"""The runtime that executes a network in a browser: files of the npm package onnxruntime-web, of one version and checksum."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from sll_zoo.errors import ExportError
from sll_zoo.files import atomic_write

VERSION = "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"  # of the package as `npm pack` writes it
PACKAGE = f"onnxruntime-web@{VERSION}"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
# Files for WebAssembly on one thread; the first is imported by the page and finds the others beside it.
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def runtime_files() -> list[Path]:
    """Return the files, on this machine: downloaded by npm at the first call, and kept in the user's cache.

    Raises:
        ExportError: npm is not installed or cannot download them, or the package has another checksum than it had.
    """
    folder = _cache() / PACKAGE
    files = [folder / name for name in FILES]
    if not all(path.exists() for path in files):
        _download(folder)
    return files


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sll_zoo"


def _download(folder: Path) -> None:
    kept = _cache() / ARCHIVE
    with TemporaryDirectory() as temporary:
        archive = kept if kept.exists() else _packed(Path(temporary))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise ExportError(
                f"{PACKAGE} has the sha256 {found}, not {SHA256}", "remove what was put in its place, and try again"
            )
        with tarfile.open(archive) as package:
            for name in FILES:
                member = package.extractfile(f"package/dist/{name}")
                assert member is not None  # noqa: S101 - the checksum says so
                with atomic_write(folder / name) as whole, whole.open("wb") as file:
                    shutil.copyfileobj(member, file)


def _packed(folder: Path) -> Path:
    npm = shutil.which("npm")
    remedy = f"run `npm pack {PACKAGE}` on a machine that can, and put {ARCHIVE} into {_cache()}"
    if npm is None:
        raise ExportError(
            f"{PACKAGE}, which executes networks in a browser, is downloaded by npm, which is not installed", remedy
        )
    command = [npm, "pack", "--silent", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - no input of others
    if done.returncode:
        raise ExportError(f"npm cannot download {PACKAGE} ({done.stderr.strip().splitlines()[-1:]})", remedy)
    return folder / ARCHIVE
