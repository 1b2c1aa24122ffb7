"""A training in stages: it grows when it should, resumes to the last bit anywhere, and its checkpoints hold their shape."""

import signal
from pathlib import Path

import pytest
import torch
import yaml
from lightning import Callback, Trainer

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.cli.main import main
from sll_zoo.models.growth import corresponding
from sll_zoo.training.callbacks import BFloat16Rescaling, Interrupted, SavePretrained, Stage
from sll_zoo.training.products import TrainingProduct
from sll_zoo.zoo.folder import ModelFolder
from tests import tolerances as tol
from tests.marks import slow_but
from tests.processes import on_ranks
from tests.training.loop import At, signal_at
from tests.training.noisy import NoisyDigits
from tests.training.staged import ENDS, EPOCH, STAGES, Seen, train, trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights of a training that was not interrupted."""
    return train(trainer(tmp_path_factory.mktemp("whole"))).model.state_dict()


def test_each_stage_has_its_network_its_batches_and_its_schedule(tmp_path):
    seen = Seen()
    task = train(trainer(tmp_path, seen))
    depths, widths, batches, rates = zip(*seen.steps, strict=True)
    first, second, third = (slice(0, ENDS[0]), slice(ENDS[0], ENDS[1]), slice(ENDS[1], ENDS[2]))
    assert (set(depths[first]), set(depths[second]), set(depths[third])) == ({7}, {10}, {11})
    assert (set(widths[second]), set(widths[third])) == ({8}, {12})
    assert (set(batches[first]), set(batches[second]), set(batches[third])) == ({64}, {32}, {32})
    largest = [max(rates[stage]) for stage in (first, second, third)]
    # Eight steps see the peak of a schedule only nearly.
    assert largest[0] == pytest.approx(largest[1], rel=0.2)
    assert largest[2] == pytest.approx(0.5 * largest[1], rel=0.2)  # 0.005 in place of the paper's 0.01
    assert all(rates[end - 1] < 0.5 * max(rates) for end in ENDS)
    assert task.hparams["model_args"]["width"] == 12
    assert seen.progress == sorted(seen.progress)
    assert (seen.progress[0], seen.progress[-1]) == (0, pytest.approx(1, abs=1 / EPOCH))


@pytest.mark.parametrize(
    "step", slow_but((1, ENDS[0], ENDS[0] + 1, ENDS[1]), (1, 3, *ENDS[:2], ENDS[0] + 1, ENDS[1] - 1, ENDS[1] + 2))
)
def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(step, whole, tmp_path):
    with pytest.raises(Interrupted):
        train(trainer(tmp_path, signal_at(step, signal.SIGTERM)))
    checkpoint = torch.load(tmp_path / "last.ckpt")
    loaded = sll_zoo.create_model(f"ckpt:{tmp_path}/last.ckpt", pretrained=True)
    for name, value in loaded.state_dict().items():
        assert torch.equal(checkpoint["state_dict"][f"model.{name}"], value)
    resumed = train(trainer(tmp_path), last=True).model.state_dict()
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def test_the_network_of_every_stage_passes_the_audit(tmp_path):
    seen = Seen()
    train(trainer(tmp_path, seen))
    assert len(seen.constants) == 4
    assert all(constant <= 1 + tol.FLOAT32 for constant in seen.constants)


def test_task_and_data_are_as_before_after_a_training_in_stages(tmp_path):
    data, seen = NoisyDigits(images=64 * EPOCH, batch_size=64), Seen()
    task = train(trainer(tmp_path, stages=STAGES), data=data)
    assert (data.batch_size, task.growth) == (64, None)
    plain = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[seen], enable_checkpointing=False
    )
    plain.fit(task, datamodule=data)
    assert len(seen.steps) == 2 * EPOCH
    assert all(rate > 0 for *_, rate in seen.steps[:-1])


def test_checkpoints_of_any_stage_are_tested_in_the_same_process_and_in_another_task(tmp_path):
    def save(task):
        task.trainer.save_checkpoint(tmp_path / f"{task.trainer.global_step}.ckpt", weights_only=task.trainer.global_step > EPOCH)

    run = trainer(tmp_path, At(2, save), At(ENDS[0] + 1, save))
    task = train(run)
    for path, depth in ((f"{tmp_path}/2.ckpt", 7), (f"{tmp_path}/{ENDS[0] + 1}.ckpt", 10)):
        data = NoisyDigits(images=64 * EPOCH, batch_size=64)
        run.test(task, datamodule=data, ckpt_path=path, verbose=False)
        other = CertifiedClassifier("sll_nano.digits")
        trainer(tmp_path).test(other, datamodule=data, ckpt_path=path, verbose=False)
        assert task.model.config.depth == other.model.config.depth == depth
        assert torch.equal(task.model.head.weight, other.model.head.weight)


def test_the_command_line_trains_in_stages_and_tests_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stages = [{"epochs": 1}, {"epochs": 1, "name": "sll_nano", "model_args": {"width": 12}, "batch_size": 300}]
    callback = {"class_path": "sll_zoo.training.callbacks.Grow", "init_args": {"stages": stages}}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    data = {"class_path": "sll_zoo.data.Digits", "init_args": {"batch_size": 400}}
    options = {"trainer": {"max_epochs": 2, "callbacks": [callback], **quiet}, "model": {"name": "sll_nano.digits"}, "data": data}
    Path("stages.yaml").write_text(yaml.safe_dump(options))
    assert main(["fit", "--config", "stages.yaml"]) == 0
    for command in ("validate", "test"):
        assert main([command, "--config", "stages.yaml", "--ckpt_path", "last"]) == 0
    assert "certified_acc_36" in capsys.readouterr().out


def test_an_optimizer_that_keeps_numbers_of_other_shapes_starts_anew(tmp_path):
    task = CertifiedClassifier("sll_nano.digits", optimizer=lambda groups: torch.optim.Adafactor(groups, lr=0.01))
    assert train(trainer(tmp_path), task).model.config.width == 12


def test_a_stage_may_change_nothing_but_the_rate_in_every_family(tmp_path):
    task = CertifiedClassifier("aol_nano.digits")
    model = task.model
    assert train(trainer(tmp_path, stages=[Stage(1), Stage(1, lr=0.001)]), task).model is model


def copied(state):
    return {parameter: {key: value.clone() for key, value in kept.items()} for parameter, kept in state.items()}


def test_what_the_optimizer_keeps_of_old_weights_is_carried_over(tmp_path):
    kept = {}

    class Look(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                kept["small"], kept["state"] = pl_module.model, copied(trainer.optimizers[0].state)

        def on_train_batch_start(self, trainer, pl_module, _batch, batch_idx):
            if trainer.current_epoch == 1 and batch_idx == 0:
                kept["large"], kept["grown"] = pl_module.model, copied(trainer.optimizers[0].state)

    train(trainer(tmp_path, Look(), stages=[Stage(1), Stage(1, model_args={"width": 12})]))
    pairs = list(corresponding(kept["small"], kept["large"]))
    assert len(pairs) == len(list(kept["small"].parameters()))
    for pair in pairs:
        old, new = kept["state"][pair.small], kept["grown"][pair.large]
        assert new["step"] == old["step"] > 0
        expected = torch.zeros_like(pair.large)
        pair.embed(old["exp_avg"], expected)
        assert torch.equal(new["exp_avg"], expected)
        assert new["exp_avg"].count_nonzero() == old["exp_avg"].count_nonzero() > 0


def test_products_of_a_training_are_those_of_new_layers_too_and_go_at_its_end(tmp_path):
    found = []
    look = At(ENDS[0] + 1, lambda task: found.extend(layer.product for layer in task.model.denses))
    task = train(trainer(tmp_path, BFloat16Rescaling(), look))
    assert len(found) == 4
    assert {product.compute_dtype for product in found} == {torch.bfloat16}
    assert not any(isinstance(layer.product, TrainingProduct) for layer in task.model.denses)


def test_the_first_dense_layers_of_a_training_have_its_products_too(tmp_path):
    found, stages = [], [Stage(1), Stage(1, model_args={"width": 12})]
    look = At(EPOCH + 1, lambda task: found.extend(layer.product for layer in task.model.denses))
    task = CertifiedClassifier("sll_nano.digits", model_args={"dense_layers": 0})
    train(trainer(tmp_path, BFloat16Rescaling(), look, stages=stages), task)
    assert {product.compute_dtype for product in found} == {torch.bfloat16}


def test_a_training_goes_on_from_shipped_weights_and_loses_nothing(tmp_path):
    """A stage with a rate of nearly 0 leaves the accuracy of the shipped weights as it was."""
    stages = [Stage(1, lr=1e-12), Stage(1, model_args={"width": 12, "conv_inner": 24}, lr=1e-12)]
    run = trainer(tmp_path, stages=stages)
    before = sll_zoo.create_model("sll_nano.digits", pretrained=True)
    task = train(run, CertifiedClassifier("sll_nano.digits", pretrained=True))
    assert task.start == "sll_nano.digits"
    assert (task.model.config.width, before.config.width) == (12, 8)
    images = torch.rand(64, 1, 8, 8)
    torch.testing.assert_close(task.model(images), before(images), rtol=0, atol=tol.FLOAT32)


def test_the_record_and_the_card_tell_the_stages_of_an_interrupted_training(tmp_path):
    saved = tmp_path / "saved"
    run = trainer(tmp_path, SavePretrained(str(saved)), signal_at(ENDS[0] + 1, signal.SIGTERM))
    with pytest.raises(Interrupted):
        train(run)
    train(trainer(tmp_path, SavePretrained(str(saved))), last=True)
    folder = ModelFolder.read(saved)
    stages = folder.known().training.stages
    assert [stage.epochs for stage in stages] == [2, 1, 1]
    assert [stage.parameters for stage in stages] == sorted({stage.parameters for stage in stages})
    assert stages[-1].parameters == folder.known().parameters
    assert 0 < sum(stage.seconds for stage in stages) <= folder.known().training.seconds
    assert stages[0].network == "`sll_nano.digits`"
    assert stages[1].network == "`sll_nano.digits`, conv_layers 6, conv_inner 20, dense_layers 4"
    card = (saved / "README.md").read_text("utf-8")
    assert all(f"| {stage.network} | {stage.parameters:,} | {stage.epochs} |" in card for stage in stages)


def grown_on(rank, folder):
    """Train in stages on two processes, and return the weights."""
    run = trainer(folder / str(rank), devices=2, strategy="ddp", precision="64-true", limit_val_batches=0)
    return train(run, data=NoisyDigits(images=64 * EPOCH, batch_size=64)).model.state_dict()


@pytest.mark.processes
def test_two_processes_grow_to_the_same_network(tmp_path):
    one, other = on_ranks(2, grown_on, tmp_path, tmp_path)
    assert one["convs.0.weight"].shape[1] == 12
    torch.testing.assert_close(one, other, rtol=0, atol=0)
