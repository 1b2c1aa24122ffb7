"""Checkpoints are whole, or they are not there."""

import resource
import signal

import pytest
import torch

from sll_zoo.cli.main import main
from sll_zoo.errors import CheckpointError
from sll_zoo.training.checkpoint_files import WholeCheckpointIO
from tests.processes import CONTEXT
from tests.training.loop import EPOCH, At, signal_at, train, trainer
from tests.training.runs import wait_for


@pytest.fixture
def fill_disk():
    """Let no file grow beyond 100,000 bytes from now on, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_for_ever(path):
    for number in range(10**9):
        WholeCheckpointIO().save_checkpoint({"number": number, "large": torch.full((1_000_000,), number)}, path)


@pytest.mark.processes
def test_who_is_killed_while_writing_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    for _ in range(5):
        process = CONTEXT.Process(target=write_for_ever, args=(path,))
        process.start()
        wait_for(path, process)
        process.join(torch.rand(()).item() / 5)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        for file in (path, path.with_name("before-last.ckpt")):
            if file.exists():
                checkpoint = WholeCheckpointIO().load_checkpoint(file)
                assert (checkpoint["large"] == checkpoint["number"]).all()


def test_a_full_disk_ends_a_training_with_a_clear_message_and_the_last_checkpoint_as_it_was(tmp_path, fill_disk):
    path = tmp_path / "last.ckpt"
    with pytest.raises(CheckpointError) as caught:
        train(trainer(tmp_path, At(EPOCH + 1, fill_disk)))
    for value in (f"{path} ", "[Errno 27] File too large", "earlier", "--ckpt_path last"):
        assert value in str(caught.value)
    assert torch.load(path)["global_step"] == EPOCH
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "last.ckpt"]


@pytest.mark.parametrize("folder", ["file/checkpoints", "/proc/checkpoints"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=rf"^{tmp_path / folder} .*--checkpoints\.folder"):
        train(trainer(tmp_path / folder, At(1, lambda _: pytest.fail("trained"))))


def test_two_trainings_do_not_write_to_one_folder(tmp_path):
    def another(_):
        with pytest.raises(CheckpointError, match=f"another .*{tmp_path}"):
            train(trainer(tmp_path))

    train(trainer(tmp_path, At(1, another), max_epochs=1))
    train(trainer(tmp_path, max_epochs=1))


def test_a_new_training_leaves_the_checkpoint_of_an_earlier_one_and_the_newest_goes_on(tmp_path):
    with pytest.raises(SystemExit):
        train(trainer(tmp_path, signal_at(3, signal.SIGTERM)))
    for step in (1, 2):
        with pytest.raises(SystemExit):
            train(trainer(tmp_path, signal_at(step, signal.SIGTERM)), last=step == 2)
    names = ("last.ckpt", "last-v1.ckpt", "before-last-v1.ckpt")
    assert [torch.load(tmp_path / name)["global_step"] for name in names] == [3, 2, 1]


def test_what_a_killed_training_was_writing_is_cleared_away(tmp_path):
    (tmp_path / ".last.ckpt-x1y2").mkdir()
    (tmp_path / ".last.ckpt-x1y2" / "last.ckpt").write_text("half of it")
    train(trainer(tmp_path, max_epochs=1))
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "last.ckpt"]


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_serves(tmp_path):
    whole, path, before = train(trainer(tmp_path)), tmp_path / "last.ckpt", tmp_path / "before-last.ckpt"
    for damaged in (b"", b"hello", path.read_bytes()[:-1000]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            train(trainer(tmp_path), last=True)
        assert str(caught.value).startswith(f"{path} ")
        assert f"--ckpt_path {before}" in str(caught.value)
    before.replace(path)
    torch.testing.assert_close(train(trainer(tmp_path), last=True), whole, rtol=0, atol=0)


def test_where_there_is_no_checkpoint_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["test", "--model.name", "sll_nano.digits", "--data", "Digits", "--ckpt_path", "last"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("sll-zoo: ")
    assert "outputs/sll_nano.digits/checkpoints" in told
    assert "--ckpt_path FILE" in told
