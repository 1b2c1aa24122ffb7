"""Two processes train as one does, stop together, and one of them writes."""

import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Subset

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits, UnpaddedSampler
from sll_zoo.errors import DivergedError
from sll_zoo.layers import FAMILIES
from sll_zoo.training.callbacks import Interrupted
from tests.processes import on_ranks
from tests.training.loop import At, signal_at, train, trainer
from tests.training.runs import ENVIRONMENT, LAST, WEIGHTS, configuration

pytestmark = pytest.mark.processes

WORLD = 2
STEPS = 5
# Images in a batch, over all processes.
BATCH = 16
# Dense and convolutional layers of every family, as small as they come.
SHAPE = {"width": 2, "conv_layers": 2, "conv_inner": 3, "dense_layers": 2, "dense_inner": 8}


class Dealt(LightningDataModule):
    """The first digits; each process gets its share of every batch."""

    def train_dataloader(self):
        digits = Digits()
        digits.setup()
        data = Subset(digits.test_dataloader().dataset, range(STEPS * BATCH))
        world = self.trainer.world_size
        return DataLoader(data, batch_size=BATCH // world, sampler=UnpaddedSampler(data, world, self.trainer.global_rank))

    val_dataloader = train_dataloader


def trained(family, world):
    """Return the parameters after five steps, and the gradients of the last."""
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {"accelerator": "cpu", "devices": world, "strategy": "ddp" if world > 1 else "auto", "precision": "64-true"}
    run = Trainer(max_epochs=1, limit_val_batches=0, **options)
    torch.manual_seed(0)
    task = CertifiedClassifier(f"{family}_nano", model_args=SHAPE)
    run.fit(task, datamodule=Dealt())
    assert run.global_step == STEPS
    return {name: (parameter.detach(), parameter.grad) for name, parameter in task.model.named_parameters()}


def train_every_family(rank):  # noqa: ARG001 - as on_ranks calls it
    return {family: trained(family, WORLD) for family in FAMILIES}


def interrupt_and_go_on(rank, folder):
    """Return what each process says when one is interrupted, and the weights with and without."""
    options = {"devices": WORLD, "strategy": "ddp", "deterministic": True}
    whole = train(trainer(folder / "whole", **options))
    callbacks = [signal_at(3, signal.SIGTERM)] if rank == 1 else []
    with pytest.raises(Interrupted) as stop:
        train(trainer(folder / "killed", *callbacks, **options))
    return stop.value.message, whole, train(trainer(folder / "killed", **options), last=True)


def draw(rank, folder):  # noqa: ARG001 - as on_ranks calls it
    """Return what each batch draws once it is read, of two epochs and of their second half gone on with."""
    drawn = {}

    class Draws(Dealt):
        def on_after_batch_transfer(self, batch, dataloader_idx):  # noqa: ARG002 - Lightning's signature
            if self.trainer.training:
                drawn.setdefault((self.trainer.current_epoch, self.trainer.global_step), []).append(torch.rand(()).item())
            return batch

    options = {"devices": WORLD, "strategy": "ddp", "max_epochs": 2}
    with pytest.raises(Interrupted):
        train(trainer(folder, signal_at(STEPS, signal.SIGTERM), **options), Draws())
    train(trainer(folder, **options), Draws(), last=True)
    train(trainer(folder / "whole", **options), Draws())
    return drawn


def spoil_an_image(rank, folder):
    """Return what each process says when one has an image that is not finite."""

    def spoil(task):
        task.trainer.datamodule.on_after_batch_transfer = lambda batch, _: (batch[0] * torch.nan, batch[1])

    callbacks = [At(1, spoil)] if rank == 1 else []
    with pytest.raises(DivergedError) as stop:
        train(trainer(folder, *callbacks, devices=WORLD, strategy="ddp"))
    return stop.value.problem


def test_two_processes_train_as_one_does_and_no_parameter_is_unused(tmp_path):
    ranks = on_ranks(WORLD, train_every_family, tmp_path)
    for family in FAMILIES:
        alone = trained(family, 1)
        for together in ranks:
            torch.testing.assert_close(together[family], alone, rtol=0, atol=1e-9)


def test_a_signal_to_one_process_ends_all_with_one_checkpoint_from_which_all_go_on(tmp_path):
    (told, *weights), (told_by_another, *weights_of_another) = on_ranks(WORLD, interrupt_and_go_on, tmp_path, tmp_path)
    assert "SIGTERM" in told
    assert f"{tmp_path / 'killed' / 'last.ckpt'} with --ckpt_path last" in told
    assert told_by_another == ""
    for whole, resumed in (weights, weights_of_another):
        torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    torch.testing.assert_close(*(whole for whole, _ in (weights, weights_of_another)), rtol=0, atol=0)


def test_no_two_batches_of_any_process_draw_the_same_and_one_that_goes_on_draws_what_it_would_have(tmp_path):
    ranks = on_ranks(WORLD, draw, tmp_path, tmp_path)
    drawn = [numbers for rank in ranks for numbers in rank.values()]
    assert all(len(numbers) == 2 and len(set(numbers)) == 1 for numbers in drawn)
    assert len({number for number, _ in drawn}) == WORLD * 2 * STEPS


def test_an_image_that_is_not_finite_on_one_process_stops_all_with_its_message(tmp_path):
    told = on_ranks(WORLD, spoil_an_image, tmp_path, tmp_path)
    assert len(told) == WORLD
    assert all(re.search(r"image .*\(epoch 0, step 1\)", problem) for problem in told)


def test_the_command_line_starts_two_processes_of_which_one_writes(tmp_path):
    (tmp_path / "config.yaml").write_text(configuration(max_epochs=1, devices=WORLD))
    command = [sys.executable, "-m", "sll_zoo", "fit", "--config", "config.yaml"]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=300)
    assert run.stdout.startswith("wrote saved: 207,242 parameters; 400 images of digits")
    assert run.stdout.count("wrote") == 2  # the folder, and the report of the training
    assert "sync_dist" not in run.stderr
    written = {
        str(path.relative_to(tmp_path)) for pattern in ("*.ckpt", "*.safetensors", "*.csv") for path in tmp_path.rglob(pattern)
    }
    assert written == {str(LAST), str(WEIGHTS), "outputs/lightning_logs/version_0/metrics.csv"}
    assert [path.name for path in (tmp_path / "outputs/lightning_logs").iterdir()] == ["version_0"]


def test_an_error_on_one_process_ends_all_with_its_message(tmp_path):
    config = configuration(max_epochs=1, devices=WORLD).replace("NoisyDigits", "BrokenOnOneProcess")
    (tmp_path / "config.yaml").write_text(config)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORLD)]
    command += ["-m", "sll_zoo", "fit", "--config", "config.yaml"]
    with (tmp_path / "errors").open("w") as errors:
        run = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=errors)
        told = "sll-zoo: images/7.png cannot be read: restore or remove the file"
        while run.poll() is None and told not in (tmp_path / "errors").read_text():
            time.sleep(0.1)
        assert run.wait(60) != 0
    assert told in (tmp_path / "errors").read_text().splitlines()
