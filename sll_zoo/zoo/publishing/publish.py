"""Publishing weights on the Hugging Face Hub: checked, measured again, described by a card, and uploaded in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sll_zoo.certificates.auditing import audit
from sll_zoo.certificates.evaluation import evaluate
from sll_zoo.data import open_data
from sll_zoo.errors import PublishError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.zoo.convert import convert_checkpoint
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.publishing.pull import fetch
from sll_zoo.zoo.publishing.recertify import remeasure
from sll_zoo.zoo.publishing.recording import measurement_on
from sll_zoo.zoo.publishing.save import read_back, save_again, save_pretrained
from sll_zoo.zoo.publishing.upload import Publication, require_login, require_names, upload
from sll_zoo.zoo.records.card import CARD_FILE
from sll_zoo.zoo.records.record import Record

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
    every layer keeps its claim (:func:`~sll_zoo.audit`), and the recorded certificates are found again; where the data is not on
    this machine, the ``warning`` of the result says so. Publishing the same thing again changes nothing, and a tag that exists is
    never moved.

    Args:
        source: A folder such as ``checkpoints/sll_nano.digits``, a name that ``create_model`` has weights for, or a ``.ckpt``
            that ``sll-zoo fit`` wrote, with or without ``ckpt:``.
        repo_id: ``org/name`` on the Hub; the repository is made if there is none.
        private: Whether only its owners can see it.
        revision: The branch; it is made if there is none.
        tag: A tag for the commit, such as ``v1.0``.
        data: Held-out images to measure weights on that have no recorded measurement: a data set's name or a folder.
        dry_run: Whether to check and return everything, and send nothing.
        progress: Wraps the list of layers that are audited, such as ``rich.progress.track``.

    Raises:
        PublishError: The weights fail a check, or the Hub refuses: nothing, or nothing visible, was uploaded.
        WeightsError: The source does not exist, or cannot be loaded.
        UnknownNameError, InputError: ``data`` does not exist, or does not fit the network.
    """
    require_names(repo_id, revision, tag)
    if not dry_run:
        require_login(repo_id, private)
    with TemporaryDirectory(prefix="sll-zoo-") as staged:
        folder, model = fetch(_name_of(source), Path(staged))
        if data:
            folder, model = _measured(folder, model, data)
        if folder.record is None:
            raise PublishError(f"{source} has no record of its weights", "save it with `sll-zoo fit`, or publish its checkpoint")
        warning = check_publishable(model, folder.record, progress)
        folder.write_card(f"hf-hub:{repo_id}{f'@{tag}' if tag else ''}")
        found = Publication(
            repo_id=repo_id,
            files={path.name: path.stat().st_size for path in sorted(folder.path.iterdir())},
            card=(folder.path / CARD_FILE).read_text("utf-8"),
            warning=warning,
        )
        return found if dry_run else upload(found, folder.path, f"{folder.record.name}, by sll_zoo", private, revision, tag)


def convert(official: Path, folder: Path, data: str | None = None, progress: Progress = iter) -> Record:
    """Write the weights of a checkpoint of the paper's authors as a folder that :func:`publish` takes.

    Args:
        official: The checkpoint, as for :func:`~sll_zoo.zoo.convert.convert_checkpoint`.
        folder: The folder to write; it is made.
        data: Held-out images to measure the weights on, a data set's name or a folder; None to measure nothing.
        progress: As for :func:`publish`.

    Raises:
        WeightsError: The file is no such checkpoint.
        PublishError: The audit finds a layer that breaks its claim; nothing is written.
    """
    model = convert_checkpoint(official)
    labels = [str(label) for label in range(model.num_classes)]
    with TemporaryDirectory(prefix="sll-zoo-") as staged:
        save_pretrained(model, Path(staged), label_names=labels, origin=f"{CONVERTED} `{official.name}`.")
        saved, model = read_back(Path(staged), model)
        if data:
            saved, model = _measured(saved, model, data)
        check_publishable(model, saved.known(), progress)
        return saved.copy(folder).known()


def _name_of(source: str) -> str:
    """Return the name by which ``create_model`` loads a source; a folder or checkpoint may be given by its path alone."""
    if Path(source).is_dir():
        return f"local-dir:{source}"
    return f"ckpt:{source}" if ":" not in source and Path(source).suffix == ".ckpt" else source


def _measured(folder: ModelFolder, model: LipschitzClassifier, data: str) -> tuple[ModelFolder, LipschitzClassifier]:
    """Measure a network on ``data``, save it to its folder again with the result, and return both as they are read back."""
    record = folder.record
    if record and record.measured:
        raise PublishError(
            f"the weights were measured before, on {record.measured.dataset}", "leave --data out: what is recorded is checked"
        )
    held_out = open_data(data, model.config.input_shape, model.num_classes, label_names(model))
    evaluation = evaluate(model, held_out.batches())
    return save_again(
        folder,
        model,
        label_names=held_out.class_names,
        measured=measurement_on(held_out, evaluation),
        curves={"this network": evaluation},
        bits=record.bits if record else 32,
    )


def check_publishable(model: LipschitzClassifier, record: Record, progress: Progress) -> str:
    """Raise PublishError for weights that fail the audit or disagree with their record; return what could not be checked.

    Args:
        model: The network with the weights.
        record: The record of the weights.
        progress: As for :func:`publish`.
    """
    counted = (model.config.family, sum(parameter.numel() for parameter in model.parameters()))
    if counted != (record.family, record.parameters):
        raise PublishError(
            f"the network has family and parameters {counted}, the record says {(record.family, record.parameters)}",
            "save the network again",
        )
    if problems := audit(model, progress).problems:
        raise PublishError(f"the audit found {len(problems)} problems ({problems[0]})", "train or convert the weights again")
    return remeasure(model, record.measured) if record.measured else ""
