"""The networks of the paper's authors: checkpoints as their two releases write them, and their logits, from the formulas.

Nothing here uses the package; T is computed with numpy.
"""

import numpy as np
import torch
from torch.nn import functional as F

from tests.oracles import absolute_row_sums

MEANS = {"cifar10": (0.4913, 0.4821, 0.4465), "cifar100": (0.5071, 0.4865, 0.4409), "tiny_imagenet": (0.485, 0.456, 0.406)}
CLASSES = {"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200}
EDGE = {"cifar10": 32, "cifar100": 32, "tiny_imagenet": 64}
FIRST_EPSILON = 1e-6


def current(data, convs=2, denses=2, width=4, conv_inner=3, dense_inner=6, draw=torch.randn):
    """Return random tensors, with uneven q, under the names of commit 87865db."""
    features = width * (EDGE[data] // 4) ** 2
    tensors = {}
    for place in range(1, convs + 1):
        tensors[f"model.model.{place}.kernel"] = draw(conv_inner, width, 3, 3)
        tensors[f"model.model.{place}.bias"] = draw(1, conv_inner, 1, 1)
        tensors[f"model.model.{place}.q"] = 2 * draw(conv_inner)
    for place in range(convs + 3, convs + 3 + denses):
        tensors[f"model.model.{place}.weight"] = draw(dense_inner, features)
        tensors[f"model.model.{place}.bias"] = draw(1, dense_inner)
        tensors[f"model.model.{place}.q"] = 2 * draw(dense_inner)
    tensors[f"model.model.{convs + 3 + denses}.weight"] = draw(CLASSES[data], features)
    tensors[f"model.model.{convs + 3 + denses}.bias"] = draw(CLASSES[data])
    return tensors


def first(data, head=True, scale=1.0, **sizes):
    """Return random float64 tensors under the names of commit faaa02e, layers twice; |q| is 0.5 to 2 times ``scale``."""
    convs, denses = sizes.setdefault("convs", 2), sizes.setdefault("denses", 2)
    tensors = {}
    for name, value in current(data, **sizes).items():
        place, part = int(name.split(".")[2]), name.split(".")[3]
        if place <= convs:
            names = (f"stable_block.{place - 1}.{part}", f"base.1.{place - 1}.{part}")
        elif place < convs + 3 + denses:
            part = "weights" if part == "weight" else part
            names = (f"layers_linear.{place - convs - 2}.{part}", f"base.2.{place - convs - 2}.{part}")
        else:
            names = (f"last_last.{part}",) if head else ()
        if part == "q":
            value = scale * value.sign() * 2 ** (value / 2).tanh()
        flat = (value.flatten() if part == "bias" else value).double()
        tensors |= {f"model.{name}": flat for name in names}
    return tensors


def save(tensors, path, wrapped=True, prefix="module."):
    """Write a checkpoint as the authors' training does, or with the tensors alone, and return its path."""
    state = {prefix + name: value for name, value in tensors.items()}
    torch.save(
        {"epoch": 999, "global_step": 3, "model_state_dict": state, "optimizer_state_dict": {}} if wrapped else state, path
    )
    return path


def logits(tensors, images, data):
    """Return the logits of the released network, of either release, for float64 images."""
    tensors = {name: value.double() for name, value in tensors.items() if ".base." not in name}
    shift = torch.tensor(MEANS[data], dtype=torch.float32).double()[:, None, None]
    layers = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    width = next(value.shape[1] for name, value in tensors.items() if name.endswith("kernel"))
    x = F.pad(images - shift, (0, 0, 0, 0, 0, width - 3))
    for layer in layers:
        kernel, q = tensors.get(f"{layer}.kernel"), tensors.get(f"{layer}.q")
        bias = tensors[f"{layer}.bias"].flatten()
        if kernel is not None:
            t = _conv_t(kernel, q, first=".stable_block." in layer)
            x = x - F.conv_transpose2d(F.conv2d(x, kernel, bias, padding=1).relu() * 2 / t[:, None, None], kernel, padding=1)
            continue
        x = F.unfold(x, 4, stride=4).view(len(x), width, 16, -1).sum(2).flatten(1) / 4 if x.ndim == 4 else x
        weight = tensors.get(f"{layer}.weight", tensors.get(f"{layer}.weights"))
        if q is None:
            return x @ (weight / weight.norm(dim=1, keepdim=True)).T + bias
        t = _dense_t(weight, q, first=".layers_linear." in layer)
        x = x - (x @ weight.T + bias).relu() * 2 / t @ weight
    return x[:, :10]


def _conv_t(kernel, q, first):
    """Return T of a convolution; in the current release q cancels."""
    gram, q = absolute_row_sums(kernel.numpy()), q.numpy()
    return torch.from_numpy(gram @ np.abs(q) / np.abs(q) if first else gram.sum(1))


def _dense_t(weight, q, first):
    """Return T of a dense layer; in the first release, epsilon is added to the q that divides."""
    gram, q = absolute_row_sums(weight.numpy()), q.numpy()
    t = gram @ np.abs(q) / (np.abs(q) + FIRST_EPSILON) if first else gram @ np.exp(q) / np.exp(q)
    return torch.from_numpy(t)
