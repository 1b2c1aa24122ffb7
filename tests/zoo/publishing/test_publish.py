"""Publishing: what is checked before anything is sent, one commit or none, and the way back."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch

import sll_zoo
from sll_zoo.errors import PublishError, WeightsError
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import WEIGHTS_FILE
from tests.hub import faults
from tests.hub.server import READ_TOKEN


def branch(hub, repo, name="main"):
    """Return the commit of a branch, None where there is no repository."""
    repository = hub.store.repositories.get(repo)
    return repository and repository.branches.get(name)


def spoil(folder, edit):
    """Change the weights of a folder, and its record to fit."""
    state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    edit(state)
    content = safetensors.torch.save(state)
    (folder / WEIGHTS_FILE).write_bytes(content)
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["certified"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / CONFIG_FILE).write_text(json.dumps(config))


def test_what_was_published_comes_back_and_publishing_it_again_changes_nothing(served, client, folder, files):
    (folder / "secret.ckpt").write_bytes(b"not for others")
    published = client.publish(folder, "zoo/digits", tag="v1.0")
    assert published.changed
    assert published.url.startswith(served.endpoint)
    assert published.files.keys() == files.keys()
    assert 'create_model("hf-hub:zoo/digits@v1.0", pretrained=True)' in published.card
    assert len(served.asked("*/commit/main", "POST")) == 1
    assert client.load("hf-hub:zoo/digits@v1.0") == safetensors.torch.load(files[WEIGHTS_FILE])["head.bias"].tolist()

    first = branch(served, "zoo/digits")
    assert not client.publish(folder, "zoo/digits", tag="v1.0").changed
    assert not client.publish(folder, "zoo/digits", tag="v1.0").changed
    assert branch(served, "zoo/digits") == first
    again = client.publish("hf-hub:zoo/digits@v1.0", "zoo/mirror")
    assert (again.changed, again.files[WEIGHTS_FILE]) == (True, published.files[WEIGHTS_FILE])


def test_packed_weights_are_measured_published_and_loaded_as_they_are(client, pretrained, tmp_path):
    quantized = sll_zoo.quantize(pretrained, bits=4)
    record = save_pretrained(quantized, tmp_path, label_names="0123456789", bits=4)
    published = client.publish(tmp_path, "zoo/packed", data="digits")
    assert published.files[WEIGHTS_FILE] == record.size
    assert "each weight was rounded to 4 bits" in published.card
    assert client.load("hf-hub:zoo/packed", "convs.0.weight") == quantized.convs[0].weight.tolist()


def test_a_tag_is_never_moved_and_a_new_one_takes_the_new_files(served, client, folder):
    client.publish(folder, "zoo/tagged", tag="v1.0")
    first = branch(served, "zoo/tagged")
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"label_names": list("abcdefghij")}))
    with pytest.raises(PublishError, match=r"zoo/tagged .* v1\.0 "):
        client.publish(folder, "zoo/tagged", tag="v1.0")
    assert branch(served, "zoo/tagged") == first
    assert client.publish(folder, "zoo/tagged", tag="v1.1").changed
    tags = served.store.repositories["zoo/tagged"].tags
    assert (tags["v1.0"], tags["v1.1"]) == (first, branch(served, "zoo/tagged"))


def test_branches_and_private_repositories_are_made(served, client, folder):
    client.publish(folder, "zoo/private", private=True, revision="dev")
    repository = served.store.repositories["zoo/private"]
    assert repository.private
    assert repository.branches["dev"] != repository.branches["main"]
    client.publish(folder, "zoo/public")
    with pytest.raises(PublishError, match=r"zoo/public .*--private"):
        client.publish(folder, "zoo/public", private=True)


def test_a_dry_run_shows_files_and_card_and_asks_nobody(served, client, folder):
    status, out, err = client.run("publish", folder, "zoo/dry", "--dry-run")
    assert status == 0, err
    assert "831 kB" in out
    assert "What the certificate says" in out
    assert "every check passed; nothing was sent to zoo/dry" in out
    assert not served.requests


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda state: state["head.bias"].fill_(torch.nan), "NaN.*head.bias"),
        (lambda state: state.pop("head.bias"), "head.bias .*absent"),
        (lambda state: state["head.bias"].add_(torch.arange(10.0)), r"image \d+ .*digits .*radius"),
    ],
)
def test_weights_that_are_not_what_their_record_says_are_refused_before_anything_is_sent(served, client, folder, edit, words):
    spoil(folder, edit)
    with pytest.raises((PublishError, WeightsError), match=words):
        client.publish(folder, "zoo/spoilt")
    assert branch(served, "zoo/spoilt") is None


def test_the_audit_comes_before_the_upload(folder, monkeypatch):
    """A layer that stretches: of a family whose T is half of what it must be."""
    from sll_zoo.layers import sll

    truth = sll.residual_step
    monkeypatch.setattr(sll, "residual_step", lambda *args: 4 * truth(*args))
    with pytest.raises(PublishError, match=r"convs\.0 \(SLLConv2d\)"):
        sll_zoo.publish(str(folder), "zoo/broken", dry_run=True)


@pytest.mark.parametrize(
    ("repo_id", "options", "words"),
    [
        ("name", {}, "'name'"),
        ("a/b/c", {}, "'a/b/c'"),
        ("zoo/..", {}, r"'zoo/\.\.'"),
        ("zoo/name", {"tag": "v 1"}, "tag 'v 1'"),
        ("zoo/name", {"revision": ""}, "branch ''"),
        ("stranger/name", {}, "^stranger/name .*http"),
    ],
)
def test_names_that_cannot_be_are_refused(served, client, folder, repo_id, options, words):
    served.put("stranger/other", {})
    served.store.repositories["stranger/other"].owner = "stranger"
    with pytest.raises(PublishError, match=words):
        client.publish(folder, repo_id, **options)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "`hf auth login`"),
        (READ_TOKEN, "only read"),
        ("hf_unknown", "zoo/refused "),
    ],
)
def test_a_token_that_will_not_do_is_refused_first_and_never_printed(served, client, folder, token, words):
    status, out, err = client.run("publish", folder, "zoo/refused", token=token)
    assert (status, len(err.splitlines())) == (2, 1)
    assert words in err
    assert (token or "hf_") not in out + err
    assert branch(served, "zoo/refused") is None


@pytest.mark.processes
def test_a_publisher_who_is_killed_leaves_nothing_and_starts_again(hub, site, folder, tmp_path):
    hub.fault(faults.throttled(100_000), "/_lfs/*", "PUT", times=1)
    environment = hub.environment(tmp_path / "home", PYTHONPATH=str(site))
    command = [sys.executable, "-m", "sll_zoo", "publish", str(folder), "zoo/killed", "--tag", "v1.0"]
    run = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not hub.asked("/_lfs/*", "PUT"):
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not hub.asked("*/commit/main", "POST")
    again = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert hub.store.repositories["zoo/killed"].tags["v1.0"] == branch(hub, "zoo/killed")


def test_a_checkpoint_of_lightning_is_measured_and_published(client, tmp_path, digits):
    from lightning import Trainer

    task = sll_zoo.CertifiedClassifier("sll_nano.digits", pretrained=True, model_args={"width": 8})
    trainer = Trainer(max_epochs=1, limit_train_batches=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(task, datamodule=digits)
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    published = client.publish(tmp_path / "mine.ckpt", "zoo/mine", data="digits")
    assert published.changed
    assert "400 held-out images of digits, certified in float64" in published.card
    assert client.load("hf-hub:zoo/mine") == task.model.head.bias.tolist()


def test_weights_that_were_measured_are_not_measured_anew(client, folder):
    with pytest.raises(PublishError, match=r"digits.*--data"):
        client.publish(folder, "zoo/name", data="digits", dry_run=True)


def test_what_an_earlier_publication_had_and_this_one_has_not_goes(served, client, folder):
    client.publish(folder, "zoo/changed")
    (folder / "curve.png").unlink()
    client.publish(folder, "zoo/changed")
    repository = served.store.repositories["zoo/changed"]
    assert repository.find("main").files.keys() == {".gitattributes", *(path.name for path in folder.iterdir())}


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ((), {"parameters": 1}, "('sll', 1)"),
        (("measured",), {"n": 10_000}, "10000 images, 32 "),
        (("measured", "sample"), {"index": [], "prediction": [], "radius": []}, "400 images, 0 "),
        (("measured", "sample"), {"index": [400], "prediction": [0], "radius": [0.1]}, "400 images, 1 "),
    ],
)
def test_a_record_that_was_written_by_hand_is_refused(folder, part, change, words):
    config = json.loads((folder / CONFIG_FILE).read_text())
    place = config["certified"]
    for key in part:
        place = place[key]
    place |= change
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(PublishError, match=re.escape(words)):
        sll_zoo.publish(str(folder), "zoo/name", dry_run=True)
