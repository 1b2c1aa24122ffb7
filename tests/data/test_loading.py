"""Training batches: the same on one process and on two, a function of torch's seed, augmented in training only."""

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from sll_zoo.data import ImageFolder, Synthetic, training_loader
from sll_zoo.errors import ConfigError
from tests.data.published import write_image
from tests.processes import on_ranks

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Recorder(LightningModule):
    """Notes the images that it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = {"train": [], "validation": []}

    def training_step(self, batch):
        self.seen["train"].append(batch[0].clone())
        return self.weight.sum()

    def validation_step(self, batch):
        self.seen["validation"].append(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Reseed(Callback):
    """Seeds torch at the start of each epoch, each process otherwise."""

    def on_train_epoch_start(self, trainer, pl_module):  # noqa: ARG002 - Lightning's signature
        torch.manual_seed(100 + trainer.current_epoch + 10 * trainer.global_rank)


def seen(data, epochs=1, callbacks=(), world=1):
    """Return the images of a training, a batch each."""
    strategy = "ddp" if world > 1 else "auto"
    trainer = Trainer(accelerator="cpu", devices=world, strategy=strategy, max_epochs=epochs, callbacks=list(callbacks), **QUIET)
    model = Recorder()
    trainer.fit(model, datamodule=data)
    return {part: torch.stack(batches) for part, batches in model.seen.items() if len({len(batch) for batch in batches}) == 1}


def small():
    """Return 40 images of which 32 or 33 are for training: batches of 12 leave some out."""
    return Synthetic(images=40, num_classes=4, shape=(1, 3, 3), batch_size=12)


def sets(batches):
    """Return each batch as a set of images."""
    return [{tuple(image.flatten().tolist()) for image in batch} for batch in batches]


def of_two_processes(rank):  # noqa: ARG001 - as on_ranks calls it
    with pytest.raises(ConfigError) as caught:
        training_loader(range(40), batch_size=9)
    return seen(small(), 2, [Reseed()], world=2)["train"], str(caught.value)


@pytest.mark.processes
def test_the_batches_of_two_processes_together_are_those_of_one(tmp_path):
    (first, message), (second, _) = on_ranks(2, of_two_processes, tmp_path)
    alone = seen(small(), 2, [Reseed()])["train"]
    assert (first.shape, second.shape, alone.shape) == ((4, 6, 1, 3, 3), (4, 6, 1, 3, 3), (4, 12, 1, 3, 3))
    assert sets(torch.cat([first, second], 1)) == sets(alone)
    assert message.startswith("batch_size=9 for 2 ")


def test_batches_are_whole_differ_from_epoch_to_epoch_and_no_image_comes_twice_in_one():
    data = small()
    data.setup()
    train = sets([data.tensors("train")[0]])[0]
    loader = data.train_dataloader()
    assert len(loader) == 2
    epochs = [sets(images for images, _ in loader) for _ in range(3)]
    for first, second in epochs:
        assert len(first) == len(second) == 12
        assert first | second <= train
        assert not first & second
    assert epochs[0] != epochs[1] != epochs[2]


def test_images_in_memory_come_in_the_batches_of_their_pairs():
    data = small()
    data.setup()
    pairs = data.part("train")
    runs = []
    for dataset in (pairs, [pairs[index] for index in range(len(pairs))]):
        torch.manual_seed(0)
        runs.append([torch.cat(parts) for parts in zip(*training_loader(dataset, batch_size=12), strict=True)])
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


def test_a_batch_beyond_the_data_set_is_refused():
    with pytest.raises(ConfigError, match="batch_size=11 for 10 "):
        training_loader(range(10), batch_size=11)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for index in range(30):
        write_image(tmp_path / "mine" / f"{index % 2}" / f"{index}.png", random, (8, 8))
    return tmp_path / "mine"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_seed_at_the_start_of_an_epoch_decides_its_batches_whatever_was_before(folder, workers):
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        data = ImageFolder(str(folder), batch_size=8, num_workers=workers)
        runs.append(seen(data, 2, [Reseed()])["train"])
    assert torch.equal(*runs)
    assert sets(runs[0][:3]) != sets(runs[0][3:])


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_images_are_augmented_and_validation_images_are_not(folder, in_memory):
    for augment in ("paper", "none"):
        data = ImageFolder(str(folder), batch_size=8, augment=augment, in_memory=in_memory, num_workers=0)
        images = seen(data)
        train, validation = sets([data.tensors("train")[0]])[0], sets([data.tensors("validation")[0]])[0]
        assert images["train"].dtype == torch.float32
        assert 0 <= images["train"].min() < images["train"].max() <= 1
        batches = sets(images["train"])
        assert all(not batch & train for batch in batches) if augment == "paper" else set.union(*batches) <= train
        assert set.union(*sets(images["validation"])) == validation
