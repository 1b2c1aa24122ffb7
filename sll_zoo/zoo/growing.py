"""``grow``: a larger network that starts as the same function, and the folder that the command writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sll_zoo import data as data_sets
from sll_zoo.certificates.certification import check_images
from sll_zoo.data.held_out import DATA_MODULES, check_source, data_module
from sll_zoo.data.images import evenly_spaced
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.files import obstacle
from sll_zoo.models import LipNet, LipNetConfig, LipschitzClassifier
from sll_zoo.models.growth import grown, needs_images, require_growth
from sll_zoo.models.labels import label_names
from sll_zoo.zoo.entries import TAGS
from sll_zoo.zoo.factory import create_model
from sll_zoo.zoo.folder import require_not_shipped
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.records.record import Record

if TYPE_CHECKING:
    from sll_zoo.data.base import ImageData

# Training images on which the units of new layers are made silent.
IMAGES = 1024


def grow(
    model: LipschitzClassifier,
    target: str | LipNetConfig,
    images: Float[Tensor, "batch channels h w"] | None = None,
    **model_args: Any,
) -> LipschitzClassifier:
    """Return a larger network that starts as the same function, as good as the small one and with more to learn.

    More channels and more inner units change no logit, apart from rounding. Neither do more layers, if there are more channels,
    too. More layers of the same width change what few pixels give, and a finer image (a smaller ``downsample`` with a larger
    ``pool``) what is fine in it. The certificate of the large network is its own, and holds as for any weights.

    Args:
        model: A ``LipNet`` of a residual family (``sll``, ``sll2``, ``sll4``, ``sll8``, ``cpl``), not in float16; it is not
            changed.
        target: A name of :func:`~sll_zoo.list_models`, for the images and classes of the small network; or a configuration.
        images: In [0, 1], such as a batch of training images. They are needed for more layers of the same width, whose units get
            a bias with which they are active on a thousandth of these images, or of their pixels.
        **model_args: Fields of :class:`~sll_zoo.models.LipNetConfig` to change in the target.

    Returns:
        The network, in the dtype and mode and on the device of ``model``; with a name, one that can be saved and trained by it.

    Raises:
        UnknownNameError: No such name.
        ConfigError: A shape that the network cannot grow to, a family or a class of networks that cannot grow, a folded network
            or one with other layers than it was built with, or no images.
        InputError: Something else than a network of the zoo, or images that are not in [0, 1].

    Example:
        >>> small = create_model("sll_nano.digits", pretrained=True)
        >>> large = grow(small, "sll_nano.digits", width=12, conv_inner=24)
        >>> image = torch.rand(1, 1, 8, 8)
        >>> torch.allclose(small(image), large(image), atol=1e-5)
        True

    Source: function-preserving transformations, Chen, Goodfellow and Shlens 2016 (arXiv 1511.05641). What differs is in
        :mod:`sll_zoo.models.growth`.
    """
    if not isinstance(model, LipschitzClassifier):
        raise InputError(f"growing a {type(model).__name__}", "give a network of create_model")
    if images is not None:
        check_images(images)
    if isinstance(target, str):
        described = named(model, target, model_args)
        large = _grown(model, cast("LipNetConfig", described.config), images)
        names = label_names(model) or None
        for name in ("pretrained_cfg", "default_cfg"):  # timm's, by which a network is saved and built again
            setattr(large, name, vars(described)[name] | {"label_names": names})
        return large
    if model_args:
        raise ConfigError(f"{', '.join(model_args)} beside a configuration", "change it in the configuration")
    return _grown(model, target, images)


def grow_weights(source: str, target: str, folder: Path, data: str | None = None, **model_args: int) -> Record:
    """Grow a model's weights and save them to a folder.

    Args:
        source: As for :func:`~sll_zoo.create_model`.
        target: A name of :func:`~sll_zoo.list_models`.
        folder: The folder to write; it is made.
        data: Name of a data set, or a folder of class folders, whose training images new layers are silent on.
        **model_args: As for :func:`grow`.

    Raises:
        ConfigError: As for :func:`grow`, or a folder that cannot be written.
        UnknownNameError, InputError: No such model or data.
        WeightsError: Weights that do not exist, cannot be downloaded, or are refused.
    """
    require_not_shipped(folder)
    if problem := obstacle(folder):
        raise ConfigError(problem, "name a folder for the weights")
    small = create_model(source, pretrained=True)
    config = named(small, target, model_args).config
    require_growth(small.config, config)
    if not needs_images(small.config, config):
        data = None
    elif data:
        check_source(data)
    else:
        raise ConfigError(
            f"more layers of the same width in {target}", "give --data: new layers are silent on its training images"
        )
    names = label_names(small) or tuple(map(str, range(small.num_classes)))
    large = grow(small, target, _opened_images(data) if data else None, **model_args)
    return save_pretrained(large, folder, label_names=names, origin=f"Grown from {Path(source).name} by `sll-zoo grow`.")


def _grown(model: LipschitzClassifier, config: LipNetConfig, images: Tensor | None) -> LipschitzClassifier:
    require_growth(model.config, config)
    model.require_structure()
    return grown(cast("LipNet", model), config, images)


def named(model: LipschitzClassifier, target: str, model_args: Mapping[str, Any]) -> LipschitzClassifier:
    """Return the network of a name and arguments, for the images and classes of another network, without numbers in it."""
    tag = (getattr(model, "pretrained_cfg", None) or {}).get("tag")
    if tag in TAGS.get(target, ()):
        target = f"{target}.{tag}"
    config = model.config
    kept: dict[str, Any] = {
        "num_classes": config.num_classes,
        "in_chans": config.in_chans,
        "img_size": config.img_size,
        "mean": config.mean,
    }
    with torch.device("meta"):
        return create_model(target, **kept | dict(model_args))


def some_images(data: ImageData) -> Float[Tensor, "batch channels h w"]:
    """Return evenly spaced training images, always the same ones."""
    part = data.part("train")
    return torch.stack([part[place][0] for place in evenly_spaced(len(part), IMAGES)])


def _opened_images(source: str) -> Tensor:
    data = data_module(source) if source in DATA_MODULES else data_sets.ImageFolder(source)
    data.prepare_data()
    return some_images(data)
