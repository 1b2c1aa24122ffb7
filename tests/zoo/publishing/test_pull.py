"""Weights from the Hub: verified, cached, and refused each with its own message."""

import io
import json
import re
import socket
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from sll_zoo.errors import UnknownNameError, WeightsError
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import WEIGHTS_FILE
from tests.hub import faults
from tests.marks import slow_but

PINNED = "sll-zoo/sll_nano.digits"
WEIGHTS = f"*/{WEIGHTS_FILE}"


def in_cache(cache, repo):
    """Return whether a cache holds weights of a repository, as a name or as content."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    large = [path for path in folder.glob("blobs/*") if path.stat().st_size > 100_000]
    return bool(large or list(folder.glob(f"snapshots/*/{WEIGHTS_FILE}")))


def changed(content, edit):
    """Return a safetensors file whose tensors were edited."""
    state = safetensors.torch.load(content)
    edit(state)
    return safetensors.torch.save(state)


def unpinned(files):
    """Return the files of a repository whose configuration states nothing of its weights."""
    config = json.loads(files[CONFIG_FILE])
    del config["certified"]
    return files | {CONFIG_FILE: json.dumps(config).encode()}


def test_a_registered_model_comes_from_its_pinned_revision_and_then_without_a_request(served, client, files):
    served.put(PINNED, files, tag="v1.0")
    served.put(PINNED, {"README.md": b"main has moved on"})
    bias = client.load("sll_nano.digits")
    assert bias == safetensors.torch.load(files[WEIGHTS_FILE])["head.bias"].tolist()
    assert {request.path for request in served.asked("*/resolve/*")} == {f"/{PINNED}/resolve/v1.0/{WEIGHTS_FILE}"}
    served.requests.clear()
    assert client.load("sll_nano") == bias
    assert not served.requests


@pytest.mark.parametrize("revision", ["", "@v1.0", "@dev/one"])
def test_a_users_repository_is_loaded_at_any_revision(served, client, files, revision):
    repo = f"user/net{len(revision)}"
    served.put(repo, files, revision=revision[1:] if "/" in revision else "main", tag="v1.0")
    assert client.load(f"hf-hub:{repo}{revision}") == safetensors.torch.load(files[WEIGHTS_FILE])["head.bias"].tolist()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.wrong_bytes(), "sha256"),
        (faults.truncated(500_000), "500,000 .*830,796"),
        (faults.oversized(10), "830,806 .* 10 "),
        (faults.html_page(), "HTML"),
        (faults.wrong_etag(), None),
    ],
)
@pytest.mark.parametrize("name", ["sll_nano.digits", "hf-hub:user/spoilt"])
def test_a_spoilt_answer_is_refused_and_leaves_nothing(served, client, files, tmp_path, fault, words, name):
    repo = name.removeprefix("hf-hub:") if ":" in name else PINNED
    served.put(repo, files, tag="v1.0")
    served.fault(fault, WEIGHTS)
    options = {"cache_dir": tmp_path / "cache"}
    if words:
        with pytest.raises(WeightsError, match=words):
            client.load(name, **options)
        assert not in_cache(tmp_path / "cache", repo)
        served.rules.clear()
    client.load(name, **options)


def as_pickle():
    buffer = io.BytesIO()
    torch.save({}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda _: b"<!DOCTYPE html><html>Sign in</html>", "HTML"),
        (lambda _: as_pickle(), "torch.save, .*code"),
        (lambda _: b"\x80\x02}q\x00.", "pickle, .*code"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (lambda content: content[:-1], "not a safetensors file"),
        (lambda content: content + b"\0", "not a safetensors file"),
        (lambda content: changed(content, lambda state: state["head.bias"].fill_(torch.nan)), "NaN.*head.bias"),
        (lambda content: changed(content, lambda state: state.pop("head.bias")), "head.bias .*absent"),
    ],
)
def test_what_a_publisher_got_wrong_is_refused_and_does_not_stay(served, client, files, tmp_path, spoil, words):
    files = unpinned(files)
    repo = f"user/{tmp_path.name}"
    served.put(repo, files | {WEIGHTS_FILE: spoil(files[WEIGHTS_FILE])})
    with pytest.raises(WeightsError, match=words):
        client.load(f"hf-hub:{repo}")
    assert not in_cache(client.cache, repo)
    served.put(repo, files)
    client.load(f"hf-hub:{repo}")
    assert in_cache(client.cache, repo)


def test_a_mistake_in_what_was_asked_for_does_not_cost_a_download(served, client, files):
    served.put("user/fine", files)
    with pytest.raises(WeightsError, match=r"\(16,.*\(3,"):
        client.load("hf-hub:user/fine", conv_inner=3)
    assert in_cache(client.cache, "user/fine")


def test_a_spoilt_cache_heals_itself(served, client, files, tmp_path):
    served.put(PINNED, files, tag="v1.0")
    client.load("sll_nano.digits", cache_dir=tmp_path / "cache")
    (blob,) = (path for path in tmp_path.glob("cache/*/blobs/*") if path.stat().st_size > 100_000)
    blob.write_bytes(blob.read_bytes()[:1000])
    client.load("sll_nano.digits", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf-hub:user/absent", "the repository user/absent "),
        ("hf-hub:user/absent@v1.0", "`hf auth login` or HF_TOKEN"),
        ("hf-hub:user/there@v9", "check the revision"),
        ("hf-hub:user/empty", "`sll-zoo publish`"),
        ("hf-hub:user/gated", "access"),
        ("hf-hub:not a name", "org/name@revision"),
    ],
)
def test_what_the_hub_does_not_give_has_a_remedy(served, client, files, name, words):
    served.put("user/there", files)
    served.put("user/empty", {"README.md": b""})
    served.put("user/gated", files, gated="manual")
    served.store.repositories["user/gated"].owner = "stranger"
    with pytest.raises(WeightsError, match=re.escape(words)):
        client.load(name)


def test_a_name_of_the_zoo_whose_repository_does_not_exist_is_told_so(served, client, tmp_path):
    if absent := served.store.repositories.get(PINNED):
        served.store.delete(absent)
    with pytest.raises(WeightsError, match=f"the repository {PINNED} .*http"):
        client.load("sll_nano.digits", cache_dir=tmp_path)


def test_a_hub_that_is_busy_is_asked_again(served, client, files):
    served.put("user/busy", files)
    served.fault(faults.status(429, retry_after=1), "/user/busy/*", times=2)
    client.load("hf-hub:user/busy")


def test_another_architecture_is_refused(served, client, files):
    config = json.loads(files[CONFIG_FILE]) | {"architecture": "resnet18"}
    served.put("user/resnet", files | {CONFIG_FILE: json.dumps(config).encode()})
    with pytest.raises(UnknownNameError, match="resnet18"):
        client.load("hf-hub:user/resnet")


def test_a_pulled_folder_works_elsewhere_and_list_says_where_weights_are(served, client, files, tmp_path):
    served.put(PINNED, files, tag="v1.0")
    status, out, _ = client.run("pull", "sll_nano.digits", "--to", tmp_path / "carried")
    assert (status, out.split()[-1]) == (0, str(tmp_path / "carried"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "carried").iterdir()} == files
    client.load(f"local-dir:{tmp_path / 'carried'}")
    (listed,) = (one for one in json.loads(client.run("list", "--pretrained", "--json")[1]) if one["name"] == "sll_nano.digits")
    assert (listed["location"], listed["available"]) == (f"hf-hub:{PINNED}@v1.0", True)
    assert listed["size"] == len(files[WEIGHTS_FILE])


@pytest.mark.processes
def test_many_processes_download_once(hub, site, files, tmp_path):
    hub.put(PINNED, files, tag="v1.0")
    hub.fault(faults.throttled(400_000), WEIGHTS, "GET")
    program = "import sll_zoo; sll_zoo.create_model('sll_nano.digits', pretrained=True)"
    environment = hub.environment(tmp_path / "home", PYTHONPATH=str(site), OMP_NUM_THREADS="1")
    command = [sys.executable, "-c", program]
    runs = [subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(4)]
    assert [(run.communicate()[1], run.returncode) for run in runs] == [(b"", 0)] * 4
    assert len(hub.asked(WEIGHTS, "GET")) == 1


@pytest.mark.slow
def test_without_a_network_a_sentence_comes_within_ten_seconds(site, hub, tmp_path):
    """A Hub that takes the connection and says nothing is the worst of networks."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = hub.environment(tmp_path, PYTHONPATH=str(site)) | {"HF_ENDPOINT": endpoint}
        program = (
            "import time, sll_zoo.zoo\nstart = time.monotonic()\n"
            "try:\n    sll_zoo.create_model('hf-hub:user/net', pretrained=True)\n"
            "except sll_zoo.errors.WeightsError as error:\n    print(time.monotonic() - start, error)"
        )
        run = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True)
    seconds, _, sentence = run.stdout.partition(" ")
    assert float(seconds) < 10
    assert "cannot be reached: connect to the network; or copy a folder that `sll-zoo pull MODEL --to DIR` made" in sentence


UNREACHABLE = [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}]


@pytest.mark.parametrize("unreachable", slow_but(UNREACHABLE[:1], UNREACHABLE))
def test_a_warm_cache_needs_no_network(served, client, site, files, tmp_path, unreachable):
    served.put("user/warm", files)
    client.load("hf-hub:user/warm")
    served.requests.clear()
    environment = served.environment(client.cache.parent, PYTHONPATH=str(site)) | unreachable
    command = [sys.executable, "-m", "sll_zoo", "certify", "hf-hub:user/warm", "digits"]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "400 images" in run.stdout
    assert not served.requests
