"""Publishing weights on the Hugging Face Hub: checked, measured again, described by a card, and uploaded in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sll_zoo.certificates.auditing import audit
from sll_zoo.certificates.evaluation import evaluate
from sll_zoo.data import fingerprint, open_data
from sll_zoo.errors import PublishError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.zoo import create_model
from sll_zoo.zoo.convert import convert_checkpoint
from sll_zoo.zoo.folder import write_card
from sll_zoo.zoo.publishing.pull import pull
from sll_zoo.zoo.publishing.recertify import remeasure
from sll_zoo.zoo.publishing.recording import measurement
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.publishing.upload import Publication, require_login, require_names, upload
from sll_zoo.zoo.records.data_source import source_of
from sll_zoo.zoo.records.record import Record
from sll_zoo.zoo.weights.reading import CONFIG_FILE, read_config, stated_record

Progress = Callable[[list[Any]], Iterable[Any]]
AUTHORS = "github.com/araujoalexandre/Lipschitz-SLL-Networks"
CONVERTED = f"The weights are those of the paper's authors, trained by their code ({AUTHORS}) and converted from their checkpoint"


def publish(
    source: str,
    repo_id: str,
    *,
    private: bool = False,
    revision: str = "main",
    tag: str | None = None,
    data: str | None = None,
    dry_run: bool = False,
    progress: Progress = iter,
) -> Publication:
    """Check weights, and upload them with configuration, card and picture in one commit.

    Nothing is uploaded unless the weights are finite, load strictly into a fresh network that gives the same logits bit by bit,
    every layer keeps its claim (:func:`~sll_zoo.audit`), and the recorded certificates are found again; where the data is not at
    hand, ``warning`` of what is returned says so. Publishing the same thing again changes nothing, and a tag that exists is never
    moved.

    Args:
        source: A folder such as ``checkpoints/sll_nano.digits``, a name that ``create_model`` has weights for, or a ``.ckpt``
            that ``sll-zoo fit`` wrote, with or without ``ckpt:``.
        repo_id: ``org/name`` on the Hub; the repository is made if there is none.
        private: Whether only its owners can see it.
        revision: The branch; it is made if there is none.
        tag: To be put on the commit, such as ``v1.0``.
        data: Held-out images to measure weights on of which nothing is recorded: a data set's name or a folder.
        dry_run: Whether to check and return everything, and send nothing.
        progress: Wraps the list of layers that are audited, such as ``rich.progress.track``.

    Raises:
        PublishError: The weights fail a check, or the Hub refuses: nothing, or nothing visible, was uploaded.
        WeightsError: The source does not exist, or cannot be loaded.
        UnknownNameError, InputError: The same of the data.
    """
    require_names(repo_id, revision, tag)
    if not dry_run:
        require_login(repo_id, private)
    with TemporaryDirectory(prefix="sll-zoo-") as staged:
        folder = Path(staged)
        model = _stage(source, folder, data)
        config = read_config(folder / CONFIG_FILE)
        record = stated_record(config)
        if record is None:
            raise PublishError(
                f"{source} has no record of its weights", "export it with `sll-zoo fit`, or publish its checkpoint"
            )
        warning = check_publishable(model, folder, record, progress)
        write_card(folder, record, config, f"hf-hub:{repo_id}{f'@{tag}' if tag else ''}")
        found = Publication(
            repo_id=repo_id,
            files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
            card=(folder / "README.md").read_text("utf-8"),
            warning=warning,
        )
        return found if dry_run else upload(found, folder, f"{record.name}, by sll_zoo", private, revision, tag)


def convert(official: Path, folder: Path, data: str | None = None, progress: Progress = iter) -> Record:
    """Write the weights of a checkpoint of the paper's authors as a folder that :func:`publish` takes.

    Args:
        official: Read by :func:`~sll_zoo.zoo.convert.convert_checkpoint`.
        folder: Where to; it is made.
        data: Held-out images to measure the weights on, a data set's name or a folder; None to measure nothing.
        progress: As for :func:`publish`.

    Raises:
        WeightsError: The file is no such checkpoint.
        PublishError: The audit finds a layer that breaks its claim; nothing is written.
    """
    model = convert_checkpoint(official)
    with TemporaryDirectory(prefix="sll-zoo-") as staged:
        record = save_pretrained(model, Path(staged), label_names=_label_names(model), origin=f"{CONVERTED} `{official.name}`.")
        if data:
            record = _measure(model, Path(staged), data)
        check_publishable(model, Path(staged), record, progress)
        pull(f"local-dir:{staged}", folder)
    return record


def _stage(source: str, folder: Path, data: str | None) -> LipschitzClassifier:
    """Fill ``folder`` with what is to be published, and return the network of the source."""
    name = f"local-dir:{source}" if Path(source).is_dir() else source
    name = f"ckpt:{source}" if ":" not in source and Path(source).suffix == ".ckpt" else name
    pull(name, folder)
    model = create_model(name, pretrained=True)
    if data:
        _measure(model.eval(), folder, data)
    return model.eval()


def _label_names(model: LipschitzClassifier) -> list[str]:
    return [str(label) for label in range(model.num_classes)]


def _measure(model: LipschitzClassifier, folder: Path, data: str) -> Record:
    """Write ``folder`` anew, with what the network reaches on ``data``."""
    config = read_config(folder / CONFIG_FILE)
    record = stated_record(config)
    if record and record.measured:
        raise PublishError(
            f"the weights were measured before, on {record.measured.dataset}", "leave --data out: what is recorded is checked"
        )
    held_out = open_data(data, model.config.input_shape, model.num_classes, label_names(model))
    evaluation = evaluate(model, held_out.batches())
    return save_pretrained(
        model,
        folder,
        label_names=held_out.class_names,
        measured=measurement(evaluation, Path(held_out.name).name, fingerprint(held_out.batches()), source=source_of(held_out)),
        curves={"this network": evaluation},
        training=record.training if record else None,
        origin=record.origin if record else None,
        bits=record.bits if record else 32,
    )


@torch.no_grad()
def check_publishable(model: LipschitzClassifier, folder: Path, record: Record, progress: Progress) -> str:
    """Raise PublishError for weights that do not keep what their card will say; return what could not be checked.

    Args:
        model: The network.
        folder: What was exported of it.
        record: That the folder states.
        progress: As for :func:`publish`.
    """
    fresh = create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.rand(4, *model.config.input_shape, generator=torch.Generator().manual_seed(0))
    if not torch.equal(model.float()(images), fresh(images)):
        raise PublishError("the file gives other logits than the network that it was made of", "export the network again")
    counted = (fresh.config.family, sum(parameter.numel() for parameter in fresh.parameters()))
    if counted != (record.family, record.parameters):
        raise PublishError(
            f"the network has family and parameters {counted}, the record says {(record.family, record.parameters)}",
            "export the network again",
        )
    if problems := audit(fresh, progress).problems:
        raise PublishError(f"the audit found {len(problems)} problems ({problems[0]})", "train or convert the weights again")
    return remeasure(fresh, record.measured) if record.measured else ""
