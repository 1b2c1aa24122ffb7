import json

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader, DistributedSampler, Subset

import sll_zoo
from sll_zoo import CertifiedClassifier, OffsetCrossEntropy
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.losses import CertificateLoss
from sll_zoo.training.callbacks import SavePretrained, WriteCertificates
from sll_zoo.training.callbacks import save_pretrained as saving
from tests.tolerances import SAME


def trainer(folder, **options):
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(default_root_dir=folder, **quiet, **options)


def test_fit_logs_accuracies_and_leaves_a_checkpoint_that_loads_with_weights_only(tmp_path):
    run, task = trainer(tmp_path, max_epochs=2), CertifiedClassifier("sll_nano.digits", loss=OffsetCrossEntropy(0.4))
    run.fit(task, datamodule=Digits())
    logged = {name for name in run.callback_metrics if name.startswith("val/")}
    assert logged == {"val/loss", "val/acc", "val/mean_radius", *(f"val/certified_acc_{level}" for level in (36, 72, 108, 255))}
    assert run.callback_metrics["val/acc"] > 0.5
    path = run.checkpoint_callback.best_model_path
    torch.load(path, weights_only=True)
    again = CertifiedClassifier.load_from_checkpoint(path, weights_only=True)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), task(x))


def test_testing_gives_the_shipped_numbers_and_predicting_the_certificates(tmp_path, digits):
    run, task = trainer(tmp_path), CertifiedClassifier("sll_nano.digits", pretrained=True)
    (measured,) = run.test(task, datamodule=Digits(), verbose=False)
    evaluation = sll_zoo.evaluate(task.model, digits.test_dataloader())
    assert measured["test/acc"] == evaluation.clean
    assert measured["test/certified_acc_36"] == evaluation.certified[36 / 255]
    assert measured["test/mean_radius"] == pytest.approx(evaluation.mean_radius, rel=1e-6)
    radius = torch.cat([batch["radius"] for batch in run.predict(task, datamodule=Digits())])
    images = digits.tensors("test")[0]
    assert torch.equal(radius, sll_zoo.certify(task.model.eval(), images).radius)
    unlabelled = torch.cat([batch["radius"] for batch in run.predict(task, DataLoader(images[:5], batch_size=2))])
    torch.testing.assert_close(unlabelled, radius[:5], rtol=0, atol=SAME)


def test_certificates_that_cannot_be_written_are_not_computed(tmp_path):
    run = trainer(tmp_path, callbacks=[WriteCertificates("/dev/null/certificates.csv")])
    task = CertifiedClassifier("sll_nano.digits")
    task.predict_step = lambda batch: pytest.fail("computed")  # noqa: ARG005
    with pytest.raises(ConfigError, match=r"^/dev/null .*WriteCertificates"):
        run.predict(task, datamodule=Digits())


def test_a_loader_that_deals_an_image_out_twice_is_refused(tmp_path, digits):
    data = Subset(digits.test_dataloader().dataset, range(7))
    padded = DataLoader(data, sampler=DistributedSampler(data, num_replicas=2, rank=0))
    told = "DistributedSampler .*8 of 7 "
    for measure in (trainer(tmp_path).test, trainer(tmp_path).validate):
        with pytest.raises(ConfigError, match=told):
            measure(CertifiedClassifier("sll_nano.digits", pretrained=True), padded)


def test_the_task_hands_its_arguments_to_the_network():
    task = CertifiedClassifier("sll_nano", model_args={"num_classes": 3, "img_size": 16})
    assert task.model.config.img_size == (16, 16)
    assert task.hparams.keys() == {"name", "model_args", "radii"}


def test_labels_that_the_network_does_not_have_are_refused_in_the_first_step(tmp_path, digits):
    task = CertifiedClassifier("sll_nano.digits", model_args={"num_classes": 3})
    run = trainer(tmp_path, max_epochs=1, limit_val_batches=0, enable_checkpointing=False)
    loader = DataLoader(digits.test_dataloader().dataset, batch_size=100)
    with pytest.raises(InputError, match="labels from 0 to 9"):
        run.fit(task, loader, loader)


def test_the_optimizer_and_the_schedule_are_injected(tmp_path):
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=0, enable_checkpointing=False)
    task = CertifiedClassifier(
        "sll_nano.digits",
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR,
    )
    run.fit(task, datamodule=Digits())
    assert isinstance(run.optimizers[0], torch.optim.SGD)
    assert run.lr_scheduler_configs[0].scheduler.T_max == 2


class Witness(CertificateLoss):
    """Cross-entropy that remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, logits, target, pairwise_lipschitz, progress=1.0):
        self.seen.append((self.training, logits.dtype, pairwise_lipschitz, progress))
        return torch.nn.functional.cross_entropy(logits, target)


@pytest.mark.filterwarnings("ignore:Precision bf16-mixed is not supported by the model summary")
def test_a_loss_of_the_certificate_is_given_constants_progress_and_all_digits(tmp_path):
    options = {"limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0, "enable_checkpointing": False}
    task = CertifiedClassifier("sll_nano.digits", loss=Witness())
    trainer(tmp_path, max_epochs=2, precision="bf16-mixed", **options).fit(task, datamodule=Digits())
    assert [(training, progress) for training, _, _, progress in task.loss.seen] == [
        (True, 0.0),
        (True, 0.25),
        (False, 1.0),
        (True, 0.5),
        (True, 0.75),
        (False, 1.0),
    ]
    assert {dtype for _, dtype, _, _ in task.loss.seen} == {torch.float32}
    assert torch.equal(task.loss.seen[-1][2], task.model.pairwise_lipschitz())
    assert task.loss.seen[0][2].requires_grad


def test_a_training_without_an_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="max_epochs"):
        trainer(tmp_path, max_epochs=-1).fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())


@pytest.mark.parametrize("folder", ["file", "file/saved", "/proc/saved"])
def test_a_folder_is_refused_before_the_training_where_it_could_not_be_written_after(folder, tmp_path):
    (tmp_path / "file").write_text("")
    run = trainer(tmp_path, max_epochs=1, callbacks=[SavePretrained(str(tmp_path / folder))])
    with pytest.raises(ConfigError, match=f"^{tmp_path / folder} .*SavePretrained"):
        run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    assert run.global_step == 0


@pytest.mark.parametrize("num_classes", [3, 12])
def test_data_of_another_number_of_classes_are_refused_with_the_option_to_mend_it(num_classes, tmp_path):
    run = trainer(tmp_path, max_epochs=1)
    told = f"^{num_classes} .*digits: .*--model.model_args.num_classes 10 "
    with pytest.raises(ConfigError, match=told):
        run.fit(CertifiedClassifier("sll_nano.digits", model_args={"num_classes": num_classes}), datamodule=Digits())
    assert run.global_step == 0


def test_a_training_in_bfloat16_saves_what_loads(tmp_path):
    folder = tmp_path / "out"
    run = trainer(
        tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=0, precision="bf16-true", enable_checkpointing=False
    )
    run.callbacks.append(SavePretrained(str(folder)))
    run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    assert sll_zoo.create_model(f"local-dir:{folder}", pretrained=True).head.weight.dtype == torch.float32


def test_saving_writes_what_create_model_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "STEPS", 2)  # 5 runs of 100 steps take long
    monkeypatch.setattr(saving, "RESTARTS", 1)
    folder = tmp_path / "sll_nano.digits"
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=3, limit_val_batches=0, enable_checkpointing=False)
    callback = SavePretrained(str(folder), baseline=True, attacked=4)
    callback.load_state_dict({"seconds": 3600.0, "images": 1000})  # as if the training went on from a checkpoint
    run.callbacks.append(callback)
    task = CertifiedClassifier("sll_nano.digits")
    run.fit(task, datamodule=Digits())
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "curve.png", "model.safetensors"]
    loaded = sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(loaded(x), task(x))
    assert loaded.config == task.model.config
    record = json.loads((folder / "config.json").read_text())["certified"]
    measured, training = record["measured"], record["training"]
    assert (measured["n"], measured["empirical"][0]["n"]) == (400, 4)
    assert training["fingerprint"] == Digits().fingerprint("train")
    assert 3600 < training["seconds"] <= callback.state_dict()["seconds"]
    assert training["images"] == 1000 + 3 * Digits().batch_size
    assert "images a second, validation included" in (folder / "README.md").read_text("utf-8")


def test_a_training_that_goes_on_from_where_nobody_counted_images_states_none():
    callback = SavePretrained("folder")
    callback.load_state_dict({"seconds": 3600.0})
    assert callback.state_dict()["images"] is None


def test_nothing_is_saved_in_a_fast_dev_run_and_no_training_starts_without_data(tmp_path):
    folder = tmp_path / "saved"
    run = trainer(tmp_path, fast_dev_run=True)
    run.callbacks.append(SavePretrained(str(folder)))
    run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    assert not folder.exists()
    loader = Digits()
    loader.setup()
    without_data = trainer(tmp_path, max_epochs=1, callbacks=[SavePretrained(str(folder))])
    with pytest.raises(ConfigError, match=r"SavePretrained .*None"):
        without_data.fit(CertifiedClassifier("sll_nano.digits"), loader.train_dataloader(), loader.val_dataloader())
