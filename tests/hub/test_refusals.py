"""Who is refused what, and which of the client's exceptions says so."""

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.server import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN

NOBODY = False


@pytest.fixture
def pull(hub, tmp_path):
    """Pull a file with a token, and return the log's entry of what was asked last."""

    def pull(token, repo="zoo/m", filename="a.txt", revision=None):
        hf_hub_download(repo, filename, revision=revision, endpoint=hub.endpoint, token=token, cache_dir=tmp_path / "cache")
        return hub.requests[-1]

    return pull


def api(hub, token):
    return HfApi(endpoint=hub.endpoint, token=token)


@pytest.mark.parametrize("token", [NOBODY, READ_TOKEN, STRANGER_TOKEN])
def test_everybody_has_the_files_of_a_public_repository(hub, pull, token):
    hub.put("zoo/m", {"a.txt": b"a"})
    assert pull(token).token == (token or None)


@pytest.mark.parametrize(("token", "status"), [(NOBODY, 401), (STRANGER_TOKEN, 404)])
def test_a_private_repository_looks_as_if_it_did_not_exist(hub, pull, token, status):
    hub.put("zoo/m", {"a.txt": b"a"}, private=True)
    for repo in ("zoo/m", "zoo/absent"):
        with pytest.raises(RepositoryNotFoundError) as refusal:
            pull(token, repo)
        assert refusal.value.response.status_code == status
    assert [one.id for one in api(hub, token).list_models(author="zoo")] == []
    assert not api(hub, token).repo_exists("zoo/m")
    pull(READ_TOKEN)
    assert [one.id for one in api(hub, READ_TOKEN).list_models(author="zoo")] == ["zoo/m"]


@pytest.mark.parametrize(("token", "status"), [(NOBODY, 401), (STRANGER_TOKEN, 403)])
def test_a_gated_repository_is_seen_but_not_pulled(hub, pull, token, status):
    hub.put("zoo/m", {"a.txt": b"a"}, gated="manual")
    assert api(hub, token).model_info("zoo/m").gated == "manual"
    for refused in (pull, lambda token: api(hub, token).auth_check("zoo/m")):
        with pytest.raises(GatedRepoError) as refusal:
            refused(token)
        assert refusal.value.response.status_code == status


def test_whoever_was_let_in_pulls_a_gated_repository(hub, pull):
    hub.put("zoo/m", {"a.txt": b"a"}, gated="manual", accepted=["stranger"])
    assert pull(STRANGER_TOKEN).status == 200


def test_the_owner_makes_a_repository_private_and_gated(hub, pull):
    hub.put("zoo/m", {"a.txt": b"a"})
    api(hub, WRITE_TOKEN).update_repo_settings("zoo/m", gated="auto")
    with pytest.raises(GatedRepoError):
        pull(NOBODY)
    api(hub, WRITE_TOKEN).update_repo_settings("zoo/m", private=True)
    with pytest.raises(RepositoryNotFoundError):
        pull(NOBODY)


def test_a_revision_or_a_file_that_does_not_exist_is_named_as_such(hub, pull):
    hub.put("zoo/m", {"a.txt": b"a"})
    with pytest.raises(RevisionNotFoundError):
        pull(NOBODY, revision="v9")
    with pytest.raises(EntryNotFoundError):
        pull(NOBODY, filename="b.txt")


def test_a_token_that_nobody_gave_out_is_refused_even_for_public_files(hub, pull):
    hub.put("zoo/m", {"a.txt": b"a"})
    with pytest.raises(HfHubHTTPError, match="Invalid") as refusal:
        api(hub, "hf_unknown").whoami()
    assert refusal.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        pull("hf_unknown")


@pytest.mark.parametrize(("token", "status"), [(NOBODY, 401), (READ_TOKEN, 403), (STRANGER_TOKEN, 403)])
def test_only_the_owner_with_a_token_to_write_changes_a_repository(hub, token, status):
    before = hub.put("zoo/m", {"a.txt": b"a"})
    who = api(hub, token)
    attempts = [
        lambda: who.upload_file(repo_id="zoo/m", path_in_repo="a.txt", path_or_fileobj=b"b"),
        lambda: who.create_tag("zoo/m", tag="v1.0"),
        lambda: who.create_branch("zoo/m", branch="dev"),
        lambda: who.delete_repo("zoo/m"),
        lambda: who.create_repo("zoo/other"),
    ]
    for attempt in attempts:
        with pytest.raises(HfHubHTTPError) as refusal:
            attempt()
        assert refusal.value.response.status_code == status
    assert api(hub, READ_TOKEN).model_info("zoo/m").sha == before
    assert api(hub, READ_TOKEN).list_repo_refs("zoo/m").tags == []


def test_an_organisation_belongs_to_whoever_was_there_first(hub):
    api(hub, STRANGER_TOKEN).create_repo("org/first")
    with pytest.raises(HfHubHTTPError, match="no right"):
        api(hub, WRITE_TOKEN).create_repo("org/second")
    api(hub, STRANGER_TOKEN).create_repo("org/second", private=True)
    assert not api(hub, WRITE_TOKEN).repo_exists("org/second")


def test_a_repository_is_created_once_and_deleted(hub):
    owner = api(hub, WRITE_TOKEN)
    assert owner.create_repo("zoo/m").repo_id == owner.create_repo("m", exist_ok=True).repo_id == "zoo/m"
    with pytest.raises(HfHubHTTPError, match="409"):
        owner.create_repo("zoo/m")
    owner.delete_repo("zoo/m")
    assert not owner.repo_exists("zoo/m")
