"""Putting measurements and attacks into the record of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from sll_zoo.certificates.attacking import Attack
from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.data import HeldOut, fingerprint
from sll_zoo.data.images import evenly_spaced
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.files import json_number, obstacle
from sll_zoo.functional.certificate import radius_label
from sll_zoo.functional.norms import REMEDY, common_norm, norm_label
from sll_zoo.zoo.folder import INSTALLED, ModelFolder
from sll_zoo.zoo.publishing.pull import locate
from sll_zoo.zoo.records.data_source import source_of
from sll_zoo.zoo.records.record import Accuracies, AtRadius, Attacked, DataSource, Measurement, Sample

# Number of certificates that a record keeps, so that they can be computed again elsewhere.
SAMPLE = 32


def measurement(
    evaluation: Evaluation,
    dataset: str,
    fingerprint: str,
    *,
    source: DataSource | None = None,
    preparation: str = "",
    division: str = "",
    baseline: Evaluation | None = None,
    attacked: Attack | None = None,
    method: str = "",
    repeats: Sequence[Accuracies] = (),
) -> Measurement:
    """Return an evaluation as a record's measurement.

    Args:
        evaluation: Evaluation of the network on the held-out images of a data set, in their order.
        dataset: Name of the data set.
        fingerprint: Hash of the images, from :func:`~sll_zoo.data.fingerprint`.
        source: How the images are opened, from :func:`~sll_zoo.zoo.records.data_source.source_of`.
        preparation: ``preparation`` of the data module (:class:`~sll_zoo.data.ImageData`).
        division: ``division`` of the data module.
        baseline: Evaluation of a nearest-neighbour margin classifier on the same images.
        attacked: Result of an attack on some of the images.
        method: Name of the attack.
        repeats: Accuracies of networks that the same training gave with other seeds.

    Raises:
        InputError: A baseline or an attack in another norm.
    """
    norm = common_norm(one.norm for one in (evaluation, baseline, attacked) if one)
    places = evenly_spaced(evaluation.n, SAMPLE)
    return Measurement(
        dataset=dataset,
        source=source,
        fingerprint=fingerprint,
        n=evaluation.n,
        date=today(),
        preparation=preparation,
        division=division,
        norm=norm_label(norm),
        dtype="float64",
        sound=evaluation.sound,
        accuracy=accuracies(evaluation),
        empirical=(under_attack(attacked, method),) if attacked else (),
        baseline=accuracies(baseline) if baseline else None,
        repeats=tuple(repeats),
        sample=Sample(
            index=tuple(places),
            prediction=tuple(evaluation.prediction[places].tolist()),
            radius=tuple(map(json_number, evaluation.proved[places].tolist())),
        ),
    )


def measurement_on(held_out: HeldOut, evaluation: Evaluation) -> Measurement:
    """Return an evaluation on images of :func:`~sll_zoo.data.open_data` as a record's measurement."""
    return measurement(
        evaluation,
        Path(held_out.name).name,
        fingerprint(held_out.batches()),
        source=source_of(held_out),
        preparation=held_out.preparation,
        division=held_out.division,
    )


def under_attack(found: Attack, method: str) -> Attacked:
    """Return an attack by a method, as a record has it."""
    return Attacked(
        method=method,
        n=found.n,
        clean=found.clean,
        certified=_at_radii(found.certified),
        accuracy=_at_radii(found.empirical),
    )


def today() -> str:
    """Return the day in UTC, as a record states it."""
    return datetime.now(UTC).date().isoformat()


def accuracies(evaluation: Evaluation) -> Accuracies:
    """Return the accuracies of an evaluation, as a record has them."""
    return Accuracies(
        clean=evaluation.clean, mean_radius=json_number(evaluation.mean_radius), certified=_at_radii(evaluation.certified)
    )


def _at_radii(accuracies: Mapping[float, float]) -> tuple[AtRadius, ...]:
    return tuple(AtRadius(eps=eps, label=radius_label(eps), accuracy=value) for eps, value in sorted(accuracies.items()))


def recording_folder(model: str) -> ModelFolder:
    """Return the folder of a model's weights, to whose record an attack can be added.

    Raises:
        ConfigError: The weights are not in a folder, or their folder is in the installed package or cannot be written to.
        WeightsError: The folder does not exist, or holds no model.
    """
    place = locate(model)
    if not isinstance(place, Path):
        raise ConfigError(f"--record for weights of {place.model_id}", "name a folder of yours: local-dir:FOLDER")
    if place.resolve().parent == INSTALLED:
        raise ConfigError(f"--record in the installed package, {place}", "name a folder of yours: `sll-zoo pull --help`")
    if problem := obstacle(place):
        raise ConfigError(problem, "leave --record out, or name a folder of yours")
    return ModelFolder.read(place)


def require_measured_at(folder: ModelFolder, eps: Sequence[float]) -> None:
    """Raise ConfigError unless weights were measured at the radii of an attack."""
    certified = [row.eps for row in _measured(folder).accuracy.certified]
    if other := [value for value in eps if value not in certified]:
        raise ConfigError(f"--record at eps {other[0]:g}", f"choose of {', '.join(map(radius_label, certified))}")


def require_measured_on(folder: ModelFolder, data: HeldOut) -> None:
    """Raise ConfigError unless weights were measured on the images that are to be attacked."""
    measured = _measured(folder)
    if fingerprint(data.batches()) != measured.fingerprint:
        raise ConfigError(f"--record for {data.name}", f"attack the images that were measured, of {measured.dataset}")


def require_no_loss(folder: ModelFolder, method: str, n: int, eps: Sequence[float]) -> None:
    """Raise ConfigError if an attack by the same method is recorded on more images, or at other radii: it would be replaced."""
    for earlier in _measured(folder).empirical:
        if earlier.method == method and (earlier.n > n or not {row.eps for row in earlier.accuracy} <= set(eps)):
            radii = " ".join(row.label for row in earlier.accuracy)
            raise ConfigError(
                f"--record of {method} on {n} images at {' '.join(map(radius_label, eps))}, in place of {earlier.n} at {radii}",
                "attack as many at these radii (--limit, --eps), or leave --record out",
            )


def record_attack(path: Path, found: Attack, method: str) -> None:
    """Write an attack into the record and the card of a folder, in place of an earlier one by the same method."""
    folder = ModelFolder.read(path)  # read again, since another attack may have been recorded in the meantime
    measured = _measured(folder)
    if measured.norm != norm_label(found.norm):
        raise InputError(f"an attack in {norm_label(found.norm)} for a record in {measured.norm}", REMEDY)
    require_no_loss(folder, method, found.n, list(found.empirical))
    others = (attacked for attacked in measured.empirical if attacked.method != method)
    measured = replace(measured, empirical=(*others, under_attack(found, method)))
    recorded = dataclasses.replace(folder, record=replace(folder.known(), measured=measured))
    if recorded.is_shipped:
        recorded.write_shipped()
    else:
        recorded.write()


def _measured(folder: ModelFolder) -> Measurement:
    """Return the measurement in a folder's record, and raise ConfigError if there is none."""
    if not folder.record or not folder.record.measured:
        raise ConfigError(
            f"--record for weights in {folder.path} that nobody has measured", "measure them: `sll-zoo quantize --help`"
        )
    return folder.record.measured
