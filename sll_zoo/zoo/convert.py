"""The checkpoints of the SLL paper's authors as networks of the zoo.

Their code: github.com/araujoalexandre/Lipschitz-SLL-Networks, commit 87865db, and its first release, commit faaa02e, which has
another T and other names for its layers.
"""

from __future__ import annotations

import pickle
import struct
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sll_zoo.errors import WeightsError
from sll_zoo.functional.finite import require_finite
from sll_zoo.functional.rescaling import LOG_Q_LIMIT, abs_gram
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.entries import SIZES, TAGS
from sll_zoo.zoo.factory import create_model
from sll_zoo.zoo.tags import DATA_OF_TAG

STATE = "model_state_dict"
REMEDY = "give a .pth file that the training of Lipschitz-SLL-Networks wrote"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Errors that torch.load was seen to raise for cut or changed files, besides UnpicklingError.
UNREADABLE = (AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error)
PAPER_SIZES = ("small", "medium", "large", "xlarge")
# Kernel and pooling of the released network: its convolutions pad by 1 whatever the kernel, so that only 3 x 3 keeps the size.
KERNEL, POOL = (3, 3), 4
# Second names of tensors in the first release, which registers its layers twice.
ALIASES = {"model.base.1.": "model.stable_block.", "model.base.2.": "model.layers_linear."}
# Epsilon of the first release's dense layer: it adds this to the q that it divides by, but not to the q that it multiplies by.
EPSILON = 1e-6
# Largest relative excess of a step that this epsilon may cause, over the step of a 1-Lipschitz layer; beyond it, the converted
# layer would be another function, not the same one rounded.
LONGEST_EXCESS = 1e-3
# Number of classes that the first release's truncation keeps. The file does not say it: the paper truncates for CIFAR-10.
TRUNCATED_CLASSES = 10


def convert_checkpoint(path: Path) -> LipschitzClassifier:
    """Return the network of a checkpoint of the paper's authors, in eval mode, with their weights.

    The sizes are read from the tensors' shapes, and with them the data set. Where they are those of the paper the network is, for
    example, ``sll_large.cifar100``; otherwise it is ``sll_small`` with sizes of its own. It computes in the file's precision,
    float32 at least.

    From commit 87865db: the logits are the same in exact arithmetic and agree to rounding in float64.

    * Its convolution multiplies and divides by the same q, so that log q = 0 here. Its dense layer follows the theorem.
    * The mean is not in the file: it is that of the data set, rounded to float32 as it is when theirs subtracts it.
    * A row of the head shorter than 1e-12 is not of unit length there. Rows that are tiny beside the largest entry count as zero
      here: in float32, those with a T below 2e-19 in the residual layers, and a norm below 5e-10 of that entry in the head.

    From the first release, commit faaa02e:

    * q is |q|, and the convolution follows the theorem, too. In float32, log |q| is rounded once.
    * Its dense layer has Tᵢ = Σⱼ |WᵀW|ᵢⱼ qⱼ/(qᵢ + ε) with ε = 1e-6, which is too small. Here ε is added to both, which makes the
      layer 1-Lipschitz and its steps shorter, by the fraction ε Σⱼ |WᵀW|ᵢⱼ / Σⱼ |WᵀW|ᵢⱼ (qⱼ + ε).
    * Where it has no head, the first ten features are the logits: the head's rows are then those of the identity.

    Args:
        path: A file that their training wrote: its ``model_state_dict`` or the tensors alone, under names with or without
            ``module.`` in front. It is read without running code of the file.

    Raises:
        WeightsError: No such file; a file that is damaged, that would run code, that holds NaN or infinity, or that has other
            tensors than one network of theirs; a q so uneven that the layer here would bound it, or, in the first release, so
            small that its layer is far from 1-Lipschitz; a network for other data than CIFAR-10, CIFAR-100 or Tiny-ImageNet.
    """
    tensors = _without_aliases(_read(path))
    first = any(key.startswith("model.stable_block.") for key in tensors)
    if first:
        tensors |= _truncation(tensors)
    keys = _keys(tensors, first)
    _require_same(path, tensors, keys.values())
    state = {ours: _flat(tensors[theirs]) if ours.endswith("bias") else tensors[theirs] for ours, theirs in keys.items()}
    model = _build(path, state).to(state["head.weight"].dtype)
    wanted = model.state_dict()
    for ours, value in state.items():
        if value.shape != wanted[ours].shape:
            raise WeightsError(f"{keys[ours]} of {path} is {tuple(value.shape)}, not {tuple(wanted[ours].shape)}", REMEDY)
    for ours in [ours for ours in state if ours.endswith("log_q")]:
        state[ours] = _log_q(f"{keys[ours]} of {path}", state[ours], state[ours.replace("log_q", "weight")], first)
    model.load_state_dict({**wanted, **state}, strict=True)  # the file has no mean: the model's own stays
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, finite and in one precision, without ``module.`` in front of their names."""
    content = _load(path)
    content = content.get(STATE, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path} holds no tensors by name", REMEDY)
    for key, value in content.items():
        if not isinstance(key, str) or not _is_plain(value):
            raise WeightsError(f"{key!r} of {path} is no tensor of real numbers", REMEDY)
    require_finite(str(path), content, "take an earlier checkpoint")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in content.values()) else torch.float32
    return {key.removeprefix(prefix): value.detach().to(dtype) for key, value in content.items()}


def _load(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path} is not a file", REMEDY)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of unusual pickles; the content is checked later
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} is no checkpoint, or would run code when it is read", REMEDY) from error
    except UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} is damaged or no checkpoint ({reason})", REMEDY) from error


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype in FLOATS and value.layout == torch.strided and value.device.type == "cpu"


def _without_aliases(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without those that are there under a second name; a second one that differs stays, and is refused."""
    twins = {alias + key.removeprefix(name): key for alias, name in ALIASES.items() for key in tensors if key.startswith(name)}
    return {key: value for key, value in tensors.items() if key not in twins or not torch.equal(value, tensors[twins[key]])}


def _truncation(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the head that keeps the first features, for a first release without one."""
    dense = tensors.get("model.layers_linear.1.weights")
    if dense is None or dense.ndim != 2 or any(key.startswith("model.last_last.") for key in tensors):
        return {}
    rows = torch.eye(TRUNCATED_CLASSES, dense.shape[1], dtype=dense.dtype)
    return {"model.last_last.weight": rows, "model.last_last.bias": rows.new_zeros(TRUNCATED_CLASSES)}


def _keys(tensors: dict[str, Tensor], first: bool) -> dict[str, str]:
    """Return the authors' name for each of our tensors, for as many layers as the file seems to have."""
    convs = max(1, sum(key.endswith(".kernel") for key in tensors))
    denses = max(0, sum(key.endswith((".weight", ".weights")) for key in tensors) - 1)  # the head's weight is not counted
    if first:  # layers_linear begins with the flattening
        names = [f"model.stable_block.{index}" for index in range(convs)]
        names += [f"model.layers_linear.{index + 1}" for index in range(denses)] + ["model.last_last"]
    else:  # the padding has index 0; pooling and flattening come between convolutions and dense layers
        names = [f"model.model.{place}" for place in (*range(1, convs + 1), *range(convs + 3, convs + 3 + denses + 1))]
    conv = {"weight": "kernel", "bias": "bias", "log_q": "q"}
    dense = {**conv, "weight": "weights" if first else "weight"}
    layers = [(f"convs.{index}", conv) for index in range(convs)] + [(f"denses.{index}", dense) for index in range(denses)]
    layers.append(("head", {"weight": "weight", "bias": "bias"}))
    pairs = zip(layers, names, strict=True)
    return {f"{ours}.{part}": f"{theirs}.{name}" for (ours, parts), theirs in pairs for part, name in parts.items()}


def _require_same(path: Path, found: Iterable[str], expected: Iterable[str]) -> None:
    leftover, missing = sorted({*found} - {*expected}), sorted({*expected} - {*found})
    if leftover or missing:
        parts = [f"{', '.join(names[:3])} {verb}" for names, verb in ((leftover, "left over"), (missing, "missing")) if names]
        raise WeightsError(f"{path} does not hold one released network: {'; '.join(parts)}", REMEDY)


def _flat(bias: Tensor) -> Tensor:
    """Return a bias (1, inner) or (1, inner, 1, 1) as (inner,), and another one as it is."""
    return bias.flatten() if bias.numel() in bias.shape else bias


def _build(path: Path, state: dict[str, Tensor]) -> LipschitzClassifier:
    """Return an untrained network with tensors of these shapes, made by the name in the zoo that they belong to."""
    sizes = [tuple(state[key].shape) for key in ("convs.0.weight", "head.weight", "denses.0.weight") if key in state]
    if list(map(len, sizes)) != [4, 2, 2][: len(sizes)] or sizes[0][2:] != KERNEL:
        raise WeightsError(f"{path} has layers of shape {', '.join(map(str, sizes))}", REMEDY)
    (inner, width, *_), (classes, features), *dense = sizes
    layers = Counter(key.split(".")[0] for key in state if key.endswith("log_q"))
    shape: dict[str, Any] = {"width": width, "conv_layers": layers["convs"], "conv_inner": inner}
    shape |= {"dense_layers": layers["denses"], "dense_inner": dense[0][0]} if dense else {"dense_layers": 0}
    size = next((size for size in PAPER_SIZES if shape.items() <= vars(SIZES[size]).items()), "small")
    for tag in TAGS[f"sll_{size}"]:
        _, height, breadth = DATA_OF_TAG[tag].input_size
        if (classes, features) == (DATA_OF_TAG[tag].num_classes, width * (height // POOL) * (breadth // POOL)):
            return create_model(f"sll_{size}.{tag}", **shape)
    raise WeightsError(
        f"{path} is of {classes} classes and {features} features of width {width}: not for {', '.join(TAGS[f'sll_{size}'])}",
        "the mean that it subtracts is not in the file, so that no other can be converted",
    )


def _log_q(name: str, q: Tensor, weight: Tensor, first: bool) -> Tensor:
    """Return the log q with which our layer computes the same as theirs."""
    dense = weight.ndim == 2
    if first and dense:
        _require_small_excess(name, q.abs(), weight)
        log_q = (q.abs() + EPSILON).log()
    elif first:
        log_q = q.abs().log()
    else:
        log_q = q if dense else torch.zeros_like(q)
    if not ((log_q - log_q.mean()).abs() <= LOG_Q_LIMIT).all():  # our layer clamps log q at this limit
        raise WeightsError(f"{name} is zero or too uneven", f"every q must be within e^±{LOG_Q_LIMIT:.0f} of the geometric mean")
    return log_q


def _require_small_excess(name: str, q: Tensor, weight: Tensor) -> None:
    gram = abs_gram(weight)
    excess = EPSILON * gram.sum(1) / (gram @ q)
    if not (excess <= LONGEST_EXCESS).all():
        raise WeightsError(
            f"{name} is so small that the layer is not 1-Lipschitz: a step is too long by {excess.max():.1%}",
            "train with the current release, which has no such q",
        )
