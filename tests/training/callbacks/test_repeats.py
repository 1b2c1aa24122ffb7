"""A training repeated with other seeds, by the command line: what is recorded together, and what is not taken for a repeat."""

import json
from statistics import mean, stdev

import pytest

from sll_zoo.cli.main import main

CONFIG = """
seed_everything: {seed}
trainer:
  max_epochs: {epochs}
  limit_train_batches: 1
  limit_val_batches: 0
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: sll_zoo.training.callbacks.SavePretrained
      init_args: {{folder: saved-{folder}, repeats: [{repeats}], bits: {bits}}}
model: {{name: sll_nano.digits}}
data: {{class_path: sll_zoo.data.Digits}}
"""


@pytest.fixture
def fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def train(seed, repeats="", epochs=1, folder=None, bits=32):
        config = tmp_path / "mine.yaml"
        named = {"seed": seed, "repeats": repeats, "epochs": epochs, "bits": bits}
        config.write_text(CONFIG.format(**named, folder=seed if folder is None else folder))
        return main(["fit", "--config", str(config)])

    return train


def certified(folder):
    return json.loads((folder / "config.json").read_text("utf-8"))["certified"]


def test_the_record_has_the_accuracies_of_all_seeds_and_the_card_their_mean_and_spread(fit, tmp_path):
    assert [fit(1), fit(2), fit(0, "saved-1, saved-2")] == [0, 0, 0]
    record, *others = (certified(tmp_path / f"saved-{seed}") for seed in (0, 1, 2))
    assert record["training"]["seeds"] == [0, 1, 2]
    assert "saved-1" not in (tmp_path / "saved-0/training.yaml").read_text()
    assert record["measured"]["repeats"] == [other["measured"]["accuracy"] for other in others]
    clean = [100 * one["measured"]["accuracy"]["clean"] for one in (record, *others)]
    assert (
        f"| 0 (clean) | {clean[0]:.2f} % | {mean(clean):.2f} ± {stdev(clean):.2f} % |"
        in (tmp_path / "saved-0/README.md").read_text()
    )


def test_what_differs_in_more_than_the_seed_is_refused_before_the_training(fit, tmp_path, capsys):
    assert [fit(1), fit(2, epochs=2), fit(3, bits=8)] == [0, 0, 0]
    for repeats, words in (
        ("saved-2", "trainer.max_epochs 2 "),
        ("saved-3", "callbacks.sll_zoo.training.callbacks.SavePretrained.bits 8 "),
        ("saved-1, saved-1", "seed 1,"),
        ("nowhere", "nowhere/config.json"),
    ):
        assert fit(0, repeats) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "saved-0").exists()
    assert fit(1, "saved-1", folder="again") == 2
    assert "seed 1," in capsys.readouterr().err
    record = certified(tmp_path / "saved-1")
    record["measured"]["fingerprint"] = "0" * 64
    config = json.loads((tmp_path / "saved-1/config.json").read_text())
    (tmp_path / "saved-1/config.json").write_text(json.dumps(config | {"certified": record}))
    assert fit(0, "saved-1") == 2
    assert "test images" in capsys.readouterr().err
    (tmp_path / "saved-1/training.yaml").unlink()
    assert fit(0, "saved-1") == 2
    assert "saved-1 holds no training" in capsys.readouterr().err
