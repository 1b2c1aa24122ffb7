"""The named models: architectures, data sets, and their registration with timm.

A named model is a size in a family, for the data sets of its tags; weights that are shipped have a record in ``records/``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs, get_pretrained_cfg, register_model

from sll_zoo.errors import ConfigError, UnknownNameError, WeightsError
from sll_zoo.layers import FAMILIES
from sll_zoo.models import (
    LipConvNet,
    LipConvNetConfig,
    LipNet,
    LipNetConfig,
    LipRNN,
    LipRNNConfig,
    LipschitzClassifier,
    NetworkConfig,
    SortNet,
    SortNetConfig,
    build,
)
from sll_zoo.models.config import SORT_FAMILIES
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.records.record import read_records
from sll_zoo.zoo.tags import DATA_OF_TAG
from sll_zoo.zoo.weights.loading import FoundCfg, WeightsSource, fetch_weights, find_weights, load_pretrained

HUB_ORGANISATION = "sll-zoo"
REVISION = "v1.0"

# nano, tiny and windows_s: what two CPU cores can train. windows: for minutes of a GPU; dense layers on windows of 2 x 2 patches.
# rnn_nano: a state that can hold all 64 pixels of the digits, and the next input; for minutes of two CPU cores.
# isometric: no padding, so that gradients of orthogonal layers keep their length on the way back to the image.
# small to xlarge: the SLL paper, by its released code; inner sizes 5 and 2048 throughout. convnet: "1-Lipschitz Layers Compared".
_WINDOWS: dict[str, Any] = {"kernel_size": 1, "dense_layers": 2, "patch": 2, "dct": True, "window": 2, "pool": 2}
SIZES: dict[str, LipNetConfig | LipConvNetConfig | LipRNNConfig] = {
    "nano": LipNetConfig(width=8, conv_layers=4, conv_inner=16, dense_layers=3, dense_inner=128, pool=1),
    "rnn_nano": LipRNNConfig(width=72, cell_layers=1, cell_inner=64, dense_layers=2, dense_inner=128),
    "tiny": LipNetConfig(width=64, conv_layers=16, conv_inner=32, dense_layers=3, dense_inner=384, patch=2, dct=True, pool=2),
    "isometric_nano": LipNetConfig(
        in_chans=1, width=4, conv_layers=6, conv_inner=16, dense_layers=4, dense_inner=128, patch=2, pool=1
    ),
    "isometric": LipNetConfig(width=48, conv_layers=6, conv_inner=24, dense_layers=2, dense_inner=384, patch=4, dct=True, pool=2),
    "windows_s": LipNetConfig(width=64, conv_layers=10, conv_inner=128, dense_inner=384, **_WINDOWS),
    "windows": LipNetConfig(width=96, conv_layers=16, conv_inner=384, dense_inner=512, **_WINDOWS),
    "small": LipNetConfig(width=45, conv_layers=20, conv_inner=5, dense_layers=7, dense_inner=2048),
    "medium": LipNetConfig(width=60, conv_layers=30, conv_inner=5, dense_layers=10, dense_inner=2048),
    "large": LipNetConfig(width=90, conv_layers=50, conv_inner=5, dense_layers=10, dense_inner=2048),
    "xlarge": LipNetConfig(width=120, conv_layers=70, conv_inner=5, dense_layers=15, dense_inner=2048),
    "convnet_xs": LipConvNetConfig(width=16),
    "convnet_s": LipConvNetConfig(width=32),
    "convnet_m": LipConvNetConfig(width=64),
    "convnet_l": LipConvNetConfig(width=128),
}
# In L∞; published networks have four or five layers of 5,120 features and a head.
SORTED = {"nano": SortNetConfig(width=128), "tiny": SortNetConfig(width=512)}
ARCHITECTURES: dict[str, NetworkConfig] = {
    **{f"{family}_{size}": replace(config, family=family) for family in FAMILIES for size, config in SIZES.items()},
    **{f"{family}_{size}": replace(config, rho=rho) for family, rho in SORT_FAMILIES.items() for size, config in SORTED.items()},
}


def _tags(name: str) -> tuple[str, ...]:
    if name.endswith("_rnn_nano"):
        return ("digits", "digits_by_pixel")
    if name.endswith("_nano"):
        return ("digits",)
    if isinstance(ARCHITECTURES[name], SortNetConfig):
        return ("cifar10",)
    if name.endswith("_isometric"):
        return ("cifar10", "cifar100", "gtsrb", "gtsrb_subset_26638")
    return ("cifar10", "cifar100", "tiny_imagenet", "gtsrb", *(["gtsrb_subset_26638"] if name.endswith("_tiny") else []))


def _papers(name: str) -> tuple[str, ...]:
    """Return the papers that an architecture follows: that of its layers, and that of its kind."""
    if isinstance(ARCHITECTURES[name], SortNetConfig):
        return ("2210.01787",)
    if isinstance(ARCHITECTURES[name], LipRNNConfig):
        return ("2303.03169", "2006.12070")
    return ("2303.03169", "2206.06854") if "_isometric" in name else ("2303.03169",)


# Tags (data sets) that each architecture is registered for. A name without a tag has the first with weights, or the first of all.
TAGS = {name: _tags(name) for name in ARCHITECTURES}


def _pretrained_cfg(name: str, tag: str, published: bool) -> dict[str, Any]:
    data = DATA_OF_TAG[tag]
    return {
        "hf_hub_id": f"{HUB_ORGANISATION}/{name}.{tag}@{REVISION}" if published else None,
        "input_size": data.input_size,
        "fixed_input_size": True,
        "num_classes": data.num_classes,
        "label_names": data.label_names,
        # Mean 0 and std 1 keep timm's transforms from normalising: the model subtracts the mean itself.
        "mean": (0.0,) * data.input_size[0],
        "std": (1.0,) * data.input_size[0],
        "crop_pct": 1.0,
        "pool_size": None,
        "first_conv": None,
        "classifier": "head",
        "license": "apache-2.0",
        "paper_ids": ", ".join(f"arXiv:{paper}" for paper in _papers(name)),
    }


_published = read_records()
# default_cfgs must have this name: timm looks for it in the module of the registered functions.
default_cfgs = generate_default_cfgs(
    {f"{name}.{tag}": _pretrained_cfg(name, tag, f"{name}.{tag}" in _published) for name in ARCHITECTURES for tag in TAGS[name]}
)


def _build(name: str, pretrained: bool, kwargs: dict[str, Any]) -> LipschitzClassifier:
    """Build a named model as timm's factory asks, with the checks that timm leaves out, before anything is downloaded."""
    refuse_features_only(kwargs)
    named, overlay = kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None) or {}
    cfg = _resolve_cfg(name, named, overlay)
    cache_dir = kwargs.pop("cache_dir", None)
    kwargs.pop("pretrained_model_args", None)  # a note by timm: the arguments are already in kwargs
    config = _config(name, cfg, kwargs)
    fetched = None
    if pretrained:
        if config.input_shape != tuple(cfg.input_size):
            raise ConfigError(
                f"images of {config.input_shape}",
                f"the weights of {name}.{cfg.tag} are for {tuple(cfg.input_size)}: give such images, or train your own",
            )
        ours = not isinstance(named, dict | PretrainedCfg) and not overlay
        full_name = f"{name}.{cfg.tag}"
        source = find_weights(cfg, read_records().get(full_name) if ours else None)
        if source is None:
            raise WeightsError(f"{full_name} has no published weights", what_there_is(full_name))
        fetched = fetch_weights(config, source, cfg.num_classes, cache_dir)
    if not fetched or config.num_classes != cfg.num_classes:
        cfg = replace(cfg, label_names=None)  # the classes of an untrained head have no names
    described = {field.name: getattr(cfg, field.name) for field in fields(PretrainedCfg)}  # without the field of FoundCfg
    make = (lambda **_: load_pretrained(config, *fetched, cfg.num_classes)) if fetched else (lambda **_: build(config))
    # img_size has no effect on ``make``: timm notes it for its save_for_hf.
    model: LipschitzClassifier = build_model_with_cfg(
        make, name, pretrained=False, pretrained_cfg=described, img_size=config.img_size
    )
    return model


def _resolve_cfg(name: str, cfg: str | dict[str, Any] | PretrainedCfg | None, overlay: dict[str, Any]) -> PretrainedCfg:
    """Return timm's description of the weights, from a tag, a Hub repository's config.json, or the default tag."""
    if isinstance(cfg, dict):
        cfg = PretrainedCfg(**cfg)
    elif not isinstance(cfg, PretrainedCfg):
        if cfg and cfg not in TAGS[name]:
            raise UnknownNameError(f"no model '{name}.{cfg}'", what_there_is(f"{name}.{cfg}"))
        cfg = get_pretrained_cfg(f"{name}.{cfg}" if cfg else name, allow_unregistered=False)
    assert cfg  # noqa: S101 - timm raises rather than return None here
    if unsupported := overlay.keys() & {"url", "state_dict"}:
        raise ConfigError(f"weights by {', '.join(unsupported)}=", "give file= or hf_hub_id=, or use load_state_dict")
    return replace(cfg, architecture=name, **overlay)


def full_name(name: str) -> str:
    """Return ``architecture.tag``, with the tag that timm takes where none is given: the first with weights, or the first."""
    architecture, _, tag = name.partition(".")
    return f"{architecture}.{tag or default_cfgs[architecture].tags[0]}"


def recipe(model: LipschitzClassifier) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the arguments by which ``create_model`` builds a network of the same shape without any files.

    None for a network that ``create_model`` did not build, or whose layers were changed afterwards.
    """
    described = vars(model).get("pretrained_cfg")
    if (
        type(model) not in (LipNet, LipConvNet, LipRNN, SortNet)
        or not described
        or _shapes(model) != _shapes(_on_meta(model.config))
    ):
        return None
    architecture, tag = described["architecture"], described["tag"]
    arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(model.config).items()}
    return f"{architecture}.{tag}" if tag in TAGS[architecture] else architecture, arguments


def _on_meta(config: NetworkConfig) -> LipschitzClassifier:
    with torch.device("meta"):
        return build(config)


def _shapes(model: LipschitzClassifier) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def folder_cfg(folder: ModelFolder, pretrained: bool) -> FoundCfg:
    """Return timm's description of the weights in a folder, which needs no weights unless they are wanted (``pretrained``)."""
    stated, arguments = folder.config, folder.config.get("model_args", {})
    described = {key: stated[key] for key in ("num_classes", "label_names", "label_descriptions") if key in stated}
    cfg = PretrainedCfg(**stated["pretrained_cfg"] | described)
    found = WeightsSource(folder.weights, record=folder.record) if pretrained else None
    return _found_cfg(replace(cfg, source="local-dir", file=str(folder.path)), stated["architecture"], arguments, found)


def trained_cfg(name: str, arguments: dict[str, Any], path: Path) -> FoundCfg:
    """Return timm's description of the weights in a checkpoint of a training of the network that ``name`` and arguments build."""
    cfg = get_pretrained_cfg(full_name(name), allow_unregistered=False)
    assert cfg  # noqa: S101 - timm raises rather than return None here
    found = WeightsSource((path,), trained=True)
    return _found_cfg(replace(cfg, source="ckpt", file=str(path)), name.partition(".")[0], arguments, found)


def _found_cfg(cfg: PretrainedCfg, architecture: str, arguments: dict[str, Any], found: WeightsSource | None) -> FoundCfg:
    """Return a description with the sizes of the network that an architecture and arguments build, and where its weights are."""
    config = _config(architecture, cfg, arguments)
    sizes = {"num_classes": config.num_classes, "input_size": config.input_shape}
    return FoundCfg(**vars(cfg) | sizes | {"architecture": architecture, "hf_hub_id": None}, found=found)


def refuse_features_only(kwargs: dict[str, Any]) -> None:
    """Take timm's ``features_only`` out of the arguments, and raise ConfigError if it asks for anything."""
    if kwargs.pop("features_only", False):
        raise ConfigError("features_only=True is not supported", "use model.forward_intermediates(images), or num_classes=0")


def what_there_is(name: str) -> str:
    """Return the remedy for a name without model or weights: the nearest names, those with weights, and how to train.

    For the path of a file or a folder it is the prefix that makes it a name.
    """
    if os.path.exists(name):  # noqa: PTH110 - False for what no path can be, where ``Path(name).exists()`` raises
        return f"give {'local-dir' if os.path.isdir(name) else 'ckpt'}:{name} for the weights there"  # noqa: PTH112
    known = [*ARCHITECTURES, *(f"{key}.{tag}" for key, tags in TAGS.items() for tag in tags)]
    nearest = [match for match in difflib.get_close_matches(name, known, n=4) if match != name]
    nearest = nearest or [f"sll_{size}" for size in SIZES]
    architecture = name.partition(".")[0]
    if architecture in TAGS:
        nearest = [f"{architecture}.{tag}" for tag in TAGS[architecture] if f"{architecture}.{tag}" != name] or [architecture]
    return (
        f"nearest: {', '.join(nearest)}; with weights: {', '.join(read_records())}; "
        "or train your own with sll_zoo.CertifiedClassifier and a Lightning Trainer"
    )


def _config(name: str, cfg: PretrainedCfg, kwargs: dict[str, Any]) -> NetworkConfig:
    """Return the network's configuration: the architecture's, with the sizes of ``cfg``'s data and the caller's arguments."""
    architecture = ARCHITECTURES[name]
    known = {field.name for field in fields(architecture)}
    if unknown := kwargs.keys() - known:
        raise ConfigError(f"{name} has no argument {', '.join(sorted(unknown))}", f"it takes {', '.join(sorted(known))}")
    channels, *size = cfg.input_size
    sizes: dict[str, Any] = {"num_classes": cfg.num_classes, "in_chans": channels, "img_size": tuple(size)}
    if isinstance(architecture, LipConvNetConfig) and cfg.tag == "tiny_imagenet":
        # The comparison gives its networks for 64 x 64 images a sixth block, and half the width.
        sizes |= {"blocks": 6, "width": architecture.width // 2}
    if isinstance(architecture, LipNetConfig) and architecture.patch > 1 and cfg.tag == "tiny_imagenet":
        sizes["patch"] = 2 * architecture.patch  # as many pixels for the convolutions as at 32 x 32
    sizes |= kwargs
    if cfg.tag in DATA_OF_TAG and "mean" not in kwargs:
        mean = DATA_OF_TAG[cfg.tag].mean
        sizes["mean"] = mean if sizes["in_chans"] == len(mean) else (sum(mean) / len(mean),)
    return replace(architecture, **sizes)


def _register(name: str) -> Callable[..., LipschitzClassifier]:
    def entrypoint(pretrained: bool = False, **kwargs: Any) -> LipschitzClassifier:
        return _build(name, pretrained, kwargs)

    entrypoint.__name__ = name
    entrypoint.__doc__ = f"Build {name}: {ARCHITECTURES[name]}."
    return register_model(entrypoint)


for _name in ARCHITECTURES:
    _register(_name)
