"""Computing recorded certificates again, where the images are on this machine."""

from __future__ import annotations

import torch

from sll_zoo.certificates.certification import certify
from sll_zoo.data import DATA_MODULES, HeldOut, fingerprint, open_data
from sll_zoo.errors import InputError, PublishError, UnknownNameError
from sll_zoo.functional.norms import norm_label
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.zoo.records.data_source import open_recorded
from sll_zoo.zoo.records.record import Measurement

# Tolerance of a radius, relative and absolute: in float64, the radii of two machines differ by rounding only.
TOLERANCE = 1e-9


def remeasure(model: LipschitzClassifier, measured: Measurement) -> str:
    """Certify the recorded sample again and return an empty text; if the images are not on this machine, return a warning.

    Args:
        model: The network.
        measured: Its recorded measurement.

    Raises:
        PublishError: :func:`recertify` finds something else than is recorded.
    """
    try:
        held_out = _at_hand(measured, model)
    except (UnknownNameError, InputError) as error:
        return (
            f"the recorded certificates were not computed again, since {measured.dataset} is not at hand in this folder ({error})"
        )
    recertify(model, measured, held_out)
    return ""


def recorded_images(measured: Measurement, model: LipschitzClassifier) -> HeldOut:
    """Return the images that a network was measured on, once their fingerprint is that of the record.

    Raises:
        InputError: They are not at hand in the current folder, or others now: once an image is added to a folder or removed,
            others are held out of it, and those may have been trained on.
    """
    remedy = f"restore {measured.dataset} as it was, or give DATA, the images to measure on"
    try:
        held_out = _at_hand(measured, model)
    except (UnknownNameError, InputError) as error:
        raise InputError(f"the images of the record, of {measured.dataset}, are not at hand here ({error})", remedy) from error
    if (found := fingerprint(held_out.batches())) != measured.fingerprint:
        raise InputError(
            f"{held_out.name} has fingerprint {found[:12]}…, the record {measured.fingerprint[:12]}…: these are not the images "
            "that were held out",
            remedy,
        )
    return held_out


def _at_hand(measured: Measurement, model: LipschitzClassifier) -> HeldOut:
    """Return the images that a record names, as they are now."""
    about = (model.config.input_shape, model.num_classes, label_names(model))
    if measured.source:
        return open_recorded(measured.source, *about)
    if measured.dataset in DATA_MODULES:  # an older record, which does not say how its images are opened
        return open_data(measured.dataset, *about)
    raise InputError(
        "the record does not say how its images are opened", "measure again, with the images inside of the current folder"
    )


def recertify(model: LipschitzClassifier, measured: Measurement, held_out: HeldOut) -> None:
    """Certify the recorded sample again and compare each image's class and radius.

    Args:
        model: The network.
        measured: Its recorded measurement.
        held_out: The images that it was measured on.

    Raises:
        PublishError: Another norm, other images, or another class or radius than is recorded.
    """
    if measured.norm != norm_label(model.norm):
        raise PublishError(f"a network in {norm_label(model.norm)} with a record in {measured.norm}", "measure the weights again")
    if (found := fingerprint(held_out.batches())) != measured.fingerprint:
        raise PublishError(
            f"{held_out.name} has fingerprint {found[:12]}…, the record {measured.fingerprint[:12]}…", "measure the weights again"
        )
    sample = measured.sample
    if measured.n != len(held_out) or not sample.index or max(sample.index) >= len(held_out):
        raise PublishError(
            f"the record is of {measured.n} images, {len(sample.index)} of them to be certified again; {held_out.name} has "
            f"{len(held_out)}",
            "measure the weights again",
        )
    images = torch.stack([held_out.image(place) for place in sample.index])
    certificate = certify(model, images, sound=measured.sound)
    recorded = torch.tensor([float("inf") if radius is None else radius for radius in sample.radius], dtype=torch.float64)
    same = certificate.prediction == torch.tensor(sample.prediction)
    same &= torch.isclose(certificate.radius, recorded, rtol=TOLERANCE, atol=TOLERANCE)
    if not same.all():
        place = int((~same).nonzero()[0])
        raise PublishError(
            f"image {sample.index[place]} of {held_out.name} has class {certificate.prediction[place]} and radius "
            f"{certificate.radius[place]:.9g}, the record says {sample.prediction[place]} and {recorded[place]:.9g}",
            "measure the weights again",
        )
