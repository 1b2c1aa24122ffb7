"""What a publisher does, by plain LFS."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from tests.hub.clients import publish, read, run, some_bytes, written

CARD = b"---\nlibrary_name: timm\npipeline_tag: image-classification\ntags: [certified-robustness]\n---\n# A model\n"
SMALL = {"README.md": CARD, "config.json": b"{}", "empty.txt": b"", "logs/a.txt": b"a"}
FILES = SMALL | {"model.safetensors": some_bytes(100_000)}
BAD_HEADS = ["tags: [", "tags: {a: b}", "model-index: [{name: m, results: [{metrics: [{type: accuracy}]}]}]"]


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=hub.token)


COMMIT = """
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
added, deleted, options = map(json.loads, sys.argv[1:])
operations = [CommitOperationAdd(path, content.encode()) for path, content in added.items()]
operations += map(CommitOperationDelete, deleted)
try:
    print(json.dumps(HfApi().create_commit("zoo/m", operations, commit_message="a commit", **options).oid))
except HfHubHTTPError as error:
    print(json.dumps(error.response.status_code))
"""


@pytest.fixture
def commit(hub, tmp_path):
    """Make a commit of texts by path and of paths that go, and return its id, or the status that refuses it."""

    def commit(added, deleted=(), **options):
        return run(hub, tmp_path / "home", COMMIT, *map(json.dumps, (added, deleted, options)))

    return commit


def text(hub, cache, revision):
    """Return what a.txt says in a revision."""
    path = hf_hub_download("zoo/m", "a.txt", revision=revision, endpoint=hub.endpoint, token=False, cache_dir=cache)
    return Path(path).read_bytes()


def test_a_published_folder_is_pulled_bit_for_bit(hub, api, tmp_path):
    oid = publish(hub, tmp_path / "home", "zoo/m", written(tmp_path / "model", FILES), "v1.0")
    pulled = snapshot_download("zoo/m", revision="v1.0", endpoint=hub.endpoint, token=hub.token, local_dir=tmp_path / "pulled")
    assert read(tmp_path / "pulled") == FILES
    assert [request.token for request in hub.asked("/_lfs/*", "PUT")] == [None]
    known = api.model_info("zoo/m", files_metadata=True)
    assert (known.sha, known.library_name, known.tags) == (oid, "timm", ["certified-robustness"])
    assert {file.rfilename: file.size for file in known.siblings}["model.safetensors"] == 100_000
    assert pulled == str(tmp_path / "pulled")


PUBLISH_AGAIN = """
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
api, (folder, ) = HfApi(), sys.argv[1:]
first, second = (api.upload_folder(repo_id="zoo/m", folder_path=folder).oid for _ in range(2))
api.create_tag("zoo/m", tag="v1.0")
try:
    api.create_tag("zoo/m", tag="v1.0")
except HfHubHTTPError as error:
    refusal = error.response.status_code
api.create_tag("zoo/m", tag="v1.0", exist_ok=True)
print(json.dumps([first, second, refusal, len(api.list_repo_commits("zoo/m"))]))
"""


def test_an_unchanged_folder_makes_no_commit_and_a_tag_is_set_once(hub, tmp_path):
    hub.put("zoo/m", {})
    folder = written(tmp_path / "model", FILES)
    first, second, refusal, commits = run(hub, tmp_path / "home", PUBLISH_AGAIN, folder)
    assert (first == second, refusal, commits) == (True, 409, 2)
    assert len(hub.asked("*/commit/*")) == len(hub.asked("/_lfs/*", "PUT")) == 1


def test_weights_that_the_hub_has_are_not_sent_again(hub, tmp_path):
    hub.put("zoo/other", {"model.safetensors": FILES["model.safetensors"]})
    publish(hub, tmp_path / "home", "zoo/m", written(tmp_path / "model", FILES))
    assert hub.asked("/_lfs/*", "PUT") == []


@pytest.mark.parametrize("head", BAD_HEADS)
def test_a_card_that_the_hub_cannot_read_is_refused(api, hub, head):
    hub.put("zoo/m", {})
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(repo_id="zoo/m", path_in_repo="README.md", path_or_fileobj=f"---\n{head}\n---\n".encode())
    assert hub.asked("*/commit/*") == []


def test_a_commit_adds_and_deletes_at_once(api, hub, commit):
    hub.put("zoo/m", {"old.txt": b"old", "logs/a.txt": b"a", "logs/b.txt": b"b", "kept.txt": b"kept"})
    assert commit({"new/deep.txt": "new"}, ["old.txt", "logs/"]) == api.model_info("zoo/m").sha
    assert api.list_repo_files("zoo/m") == [".gitattributes", "kept.txt", "new/deep.txt"]
    assert [one.path for one in api.list_repo_tree("zoo/m")] == [".gitattributes", "kept.txt", "new"]
    assert [one.path for one in api.get_paths_info("zoo/m", ["kept.txt", "absent"])] == ["kept.txt"]


def test_a_commit_on_another_parent_than_announced_is_refused(api, hub, commit):
    first, second = (hub.put("zoo/m", {"a.txt": content}) for content in (b"1", b"2"))
    assert commit({"a.txt": "3"}, parent_commit=first) == 412
    assert api.model_info("zoo/m").sha == second
    assert commit({"a.txt": "3"}, parent_commit=second) == api.model_info("zoo/m").sha


def test_branches_and_tags_may_have_slashes(api, hub, commit, tmp_path):
    hub.put("zoo/m", {"a.txt": b"main"})
    api.create_branch("zoo/m", branch="dev/one")
    oid = commit({"a.txt": "dev"}, revision="dev/one")
    api.create_tag("zoo/m", tag="rc/1.0", revision="dev/one")
    texts = [text(hub, tmp_path, revision) for revision in ("dev/one", "rc/1.0", oid, "main")]
    assert texts == [b"dev", b"dev", b"dev", b"main"]
    refs = api.list_repo_refs("zoo/m")
    assert ([one.name for one in refs.branches], [one.name for one in refs.tags]) == (["main", "dev/one"], ["rc/1.0"])
    api.delete_tag("zoo/m", tag="rc/1.0")
    api.delete_branch("zoo/m", branch="dev/one")
    assert [one.name for one in api.list_repo_refs("zoo/m").branches] == ["main"]


def test_an_environment_without_a_token_is_nobody(hub, tmp_path):
    whoami = "from huggingface_hub import get_token; print(json.dumps(get_token()))"
    assert run(hub, tmp_path, whoami, token=None) is None
    assert run(hub, tmp_path, whoami) == hub.token
