"""Random edits that people make to networks: each takes a network of the zoo and returns the one to be certified."""

import copy

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import sll_zoo
from sll_zoo.layers import MaxMin, SLLConv2d, SLLLinear
from sll_zoo.models import LipNet

GLOBAL_HOOKS = []  # handles of global hooks, for the test that removes them


class Scale(nn.Module):
    def __init__(self, factor=10.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Residual(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return x + self.layer(x)


def _one(random, choices):
    return choices[random.randrange(len(choices))]


def _place(net, random):
    """Return a random layer of the body: its container, its name there, the layer, and whether it is dense."""
    container = _one(random, [net.convs, net.denses])
    name = str(random.randrange(len(container)))
    return container, name, container[int(name)], container is net.denses


def _foreign(net, dense, random):
    width, features = net.config.width, net.num_features
    if dense:
        return _one(random, [nn.Linear(features, features), nn.BatchNorm1d(features), nn.GELU(), Scale(), nn.ReLU(), MaxMin()])
    return _one(
        random, [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.Softplus(), Scale(), nn.ReLU(), MaxMin()]
    )


def _native(net, dense):
    return SLLLinear(net.num_features, 7) if dense else SLLConv2d(net.config.width, 5)


def replace(net, random):
    container, name, _, dense = _place(net, random)
    setattr(container, name, _one(random, [_foreign(net, dense, random), _native(net, dense)]))
    return net


def insert(net, random):
    container, name, _, dense = _place(net, random)
    container.insert(int(name), _one(random, [_foreign(net, dense, random), _native(net, dense)]))
    return net


def wrap(net, random):
    container, name, layer, _ = _place(net, random)
    setattr(container, name, _one(random, [nn.Sequential(layer, Scale()), nn.Sequential(layer, nn.Identity()), Residual(layer)]))
    return net


def remove(net, random):
    container, name, _, _ = _place(net, random)
    del container[int(name)]
    return net


def scale(net, random):
    parameters = list(net.parameters())
    for parameter in random.sample(parameters, 1 + random.randrange(len(parameters))):
        parameter.data.mul_(_one(random, [-1.0, 0.0, 0.01, 10.0, 1e3]))
    return net


def assign(net, random):
    layer = _one(random, [module for module in net.modules() if isinstance(getattr(module, "weight", None), nn.Parameter)])
    weight = 3 * layer.weight.detach()
    if random.random() < 0.5:
        del layer.weight
        layer.weight = weight  # a plain attribute
    else:
        layer.weight = nn.Parameter(weight)
    return net


def shrink(net, random):
    layer = _one(random, [module for module in net.modules() if isinstance(getattr(module, "weight", None), nn.Parameter)])
    prune.l1_unstructured(layer, "weight", amount=0.5)
    if random.random() < 0.5:
        prune.remove(layer, "weight")
    return net


def parametrise(net, random):
    _, _, layer, _ = _place(net, random)
    layer = layer[0] if isinstance(layer, nn.Sequential) else layer
    _one(
        random,
        [
            lambda: parametrize.register_parametrization(layer, "weight", Scale()),
            lambda: parametrizations.weight_norm(layer),
            lambda: parametrizations.spectral_norm(layer),
        ],
    )()
    return net


def subclass(net, random):
    kind = type(net)
    overrides = {
        "forward": lambda self, x: 10 * kind.forward(self, x),
        "forward_features": lambda self, x: 10 * kind.forward_features(self, x),
        "forward_head": lambda self, x, pre_logits=False: 10 * kind.forward_head(self, x, pre_logits),
        "body": lambda self, x: 10 * kind.body(self, x),
        "pairwise_lipschitz": lambda self: kind.pairwise_lipschitz(self) / 10,
    }
    name = _one(random, sorted(overrides))
    net.__class__ = type("Edited", (kind,), {name: overrides[name]})
    return net


def subclass_a_layer(net, random):
    _, _, layer, _ = _place(net, random)
    kind = type(layer)
    layer.__class__ = type("Edited", (kind,), {"forward": lambda self, x: 10 * kind.forward(self, x)})
    return net


def subclass_harmlessly(net, random):
    net.__class__ = type("Edited", (type(net),), {"name": random.random()})
    return net


def replace_a_method(net, random):
    name = _one(random, ["forward", "body", "forward_features", "pairwise_lipschitz", "forward_head"])
    method = getattr(net, name)
    factor = 0.1 if name == "pairwise_lipschitz" else 10
    setattr(net, name, lambda *args: factor * method(*args))
    return net


def hook(net, random):
    module = _one(random, list(net.modules()))
    _one(
        random,
        [
            lambda: module.register_forward_hook(lambda _, __, y: 10 * y),
            lambda: module.register_forward_pre_hook(lambda _, args: (10 * args[0],)),
            lambda: module.register_full_backward_hook(lambda *_: None),  # this hook changes no output
            lambda: GLOBAL_HOOKS.append(nn.modules.module.register_module_forward_hook(lambda _, __, y: 10 * y)),
        ],
    )()
    return net


def cast(net, random):
    part = _one(random, [net, net.convs, net.denses, net.head])
    part.to(_one(random, [torch.float64, torch.float32, torch.bfloat16, torch.float16]))
    return net


def set_an_attribute(net, random):
    name, value = _one(
        random,
        [
            ("pool.divisor_override", 1),
            ("pool.divisor_override", None),
            ("pool.stride", 1),
            ("convs.0.activation", "tanh"),
            ("denses.0.activation", "softplus"),
            ("convs.0.padding_mode", "circular"),
            ("pad.extra", 0),
            ("num_classes", 3),
            ("center.mean", torch.full_like(net.center.mean, 0.1)),
        ],
    )
    path, _, attribute = name.rpartition(".")
    module = net.get_submodule(path)
    if hasattr(module, attribute):
        setattr(module, attribute, value)
    return net


def edit_what_is_folded(net, random):
    made = _one(random, [lambda: sll_zoo.fold(net, torch.float64), lambda: sll_zoo.freeze(net)])()
    buffer = _one(random, [value for value in made.buffers() if value.is_floating_point()])
    _one(
        random,
        [
            lambda: buffer.mul_(3),
            lambda: buffer.data.mul_(3),
            lambda: buffer.numpy().__imul__(3),
            lambda: buffer.data.copy_(buffer.flatten().flip(0).view_as(buffer)),
            lambda: buffer.set_(buffer * 3),
            lambda: made.load_state_dict({key: 3 * value for key, value in made.state_dict().items()}),
            lambda: None,
        ],
    )()
    return made


def replace_in_what_is_folded(net, random):
    made = _one(random, [lambda: sll_zoo.fold(net, torch.float64), lambda: sll_zoo.freeze(net)])()
    body = getattr(made, "network", made)
    _one(
        random,
        [
            lambda: replace(body, random),
            lambda: wrap(body, random),
            lambda: remove(body, random),
            lambda: set_an_attribute(body, random),
            lambda: hook(made, random),
            lambda: subclass_a_layer(body, random),
        ],
    )()
    return made.double() if made is body else made


def fold_in_another_type(net, random):
    folded = sll_zoo.fold(net, _one(random, [torch.float32, torch.bfloat16]))
    return folded.double() if random.random() < 0.5 else folded


def into_a_network_of_ones_own(net, random):
    class Own(LipNet):
        def __init__(self, other):
            nn.Module.__init__(self)
            vars(self).update(copy.deepcopy(vars(other)))

        def body(self, x):
            return factor * LipNet.body(self, x) + shift

    factor, shift = _one(random, [(1, 0), (2, 0), (1, 0.1), (0.5, 0)])
    return Own(net).eval()


EDITS = (
    *(replace, insert, wrap, remove, scale, assign, shrink, parametrise, subclass, subclass_a_layer, subclass_harmlessly),
    *(replace_a_method, hook, cast, set_an_attribute, edit_what_is_folded, replace_in_what_is_folded, fold_in_another_type),
    into_a_network_of_ones_own,
)
