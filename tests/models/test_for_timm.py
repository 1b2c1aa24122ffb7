"""What timm's users ask of a network, one of each shape."""

import dataclasses
from functools import partial

import pytest
import timm.optim
import torch
from timm.models import FeatureInfo, group_modules, group_parameters

import sll_zoo
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.models import LipschitzClassifier, build
from sll_zoo.training.optimizers import LR_FACTOR, parameter_groups
from tests import tolerances as tol
from tests.models.test_classifier import CONFIGS


# A recurrent network has no maps between its layers.
@pytest.fixture(params=[name for name in CONFIGS if name != "liprnn"])
def net(request):
    return build(CONFIGS[request.param]).double()


@pytest.fixture
def images():
    return torch.rand(2, 3, 8, 4, dtype=torch.float64)


def stage_by_stage(net, images):
    maps = [net.enter(net.center(images))]
    for stage in net.stages:
        maps.append(stage(maps[-1]))
    return maps[1:]


def test_the_intermediates_are_what_each_stage_gives_and_the_features_those_of_the_network(net, images):
    features, maps = net.forward_intermediates(images)
    for found, wanted in zip(maps, stage_by_stage(net, images), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=tol.SAME)
    torch.testing.assert_close(features, net.forward_features(images), rtol=0, atol=tol.SAME)
    assert torch.equal(net.forward_head(features), net.head(features))


def test_the_info_states_the_shapes_of_the_maps_and_the_modules_that_give_them(net, images):
    info = FeatureInfo(net.feature_info, out_indices=(0, -1))
    maps = net.forward_intermediates(images, intermediates_only=True)
    assert len(net.feature_info) == len(maps) == 2
    for row, found in zip(net.feature_info, maps, strict=True):
        assert found.shape == (2, row["num_chs"], 8 // row["reduction"], 4 // row["reduction"])
    assert [net.get_submodule(name) for name in info.module_name()] == [net.stages[0], net.stages[-1]]


@pytest.mark.parametrize(
    ("indices", "taken"), [(None, [0, 1]), (1, [1]), (2, [0, 1]), ([0], [0]), ([-1, 0], [0, 1]), ((-2,), [0]), ([], []), (0, [])]
)
def test_indices_are_those_of_timm(net, images, indices, taken):
    every = net.forward_intermediates(images, intermediates_only=True)
    found = net.forward_intermediates(images, indices, intermediates_only=True)
    assert len(found) == len(taken)
    for one, place in zip(found, taken, strict=True):
        torch.testing.assert_close(one, every[place], rtol=0, atol=tol.SAME)


def test_stopping_early_leaves_out_what_comes_behind(net, images):
    last, (first,) = net.forward_intermediates(images, [0], stop_early=True)
    assert last is first
    net.stages[1].forward = None  # is not called
    net.forward_intermediates(images, [0], intermediates_only=True)


def test_maps_have_the_gradients_of_the_stages_and_are_not_written_over(net, images):
    images.requires_grad_()
    found, wanted = net.forward_intermediates(images)[1], stage_by_stage(net, images)
    of = [images, *net.stages.parameters()]
    gradients = [torch.autograd.grad(sum(part.square().sum() for part in maps), of) for maps in (found, wanted)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=tol.SAME, atol=tol.SAME)
    with torch.no_grad():
        for one, other in zip(net.forward_intermediates(images)[1], wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=tol.SAME)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"indices": 3}, "index -3 .*0 to 1"),
        ({"indices": [2]}, "index 2 .*0 to 1"),
        ({"output_fmt": "NLC"}, "output_fmt='NLC'"),
    ],
)
def test_what_there_is_not_is_refused(net, images, arguments, words):
    with pytest.raises(ConfigError, match=words):
        net.forward_intermediates(images, **arguments)
    with pytest.raises(InputError, match=r"\(batch, 3, "):
        net.forward_intermediates(images[:, :, :2])


def test_a_network_without_maps_gives_none_and_its_features(images):
    net = build(CONFIGS["liprnn"]).double()
    features, maps = net.forward_intermediates(images)
    assert maps == net.feature_info == []
    assert torch.equal(features, net.forward_features(images))
    with pytest.raises(ConfigError, match="index 0"):
        net.forward_intermediates(images, [0])


@pytest.mark.parametrize("family", ["sll", "aol", "sandwich", "orthogonal"])
@pytest.mark.parametrize("name", ["nano", "rnn_nano", "convnet_xs"])
def test_timms_layer_decay_is_that_of_the_zoo(family, name):
    net = sll_zoo.create_model(f"{family}_{name}", **({"width": 4} if name == "convnet_xs" else {}))
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    zoo, theirs = {}, {}
    for group in parameter_groups(net, 0.75):
        zoo |= {names[id(parameter)]: group[LR_FACTOR] for parameter in group["params"]}
    for group in timm.optim.param_groups_layer_decay(net, layer_decay=0.75):
        theirs |= {names[id(parameter)]: group["lr_scale"] for parameter in group["params"]}
    assert zoo == theirs
    assert zoo.keys() == set(names.values())
    assert zoo["head.weight"] == 1


def test_timms_factory_of_optimizers_scales_layers_and_spares_log_q(net):
    optimizer = timm.optim.create_optimizer_v2(net, "adamw", lr=0.1, weight_decay=0.01, layer_decay=0.5)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = [({names[id(parameter)] for parameter in group["params"]}, group) for group in optimizer.param_groups]
    assert len({group["lr_scale"] for _, group in groups}) == len(group_parameters(net, net.group_matcher()))
    assert net.no_weight_decay() <= set().union(*(found for found, group in groups if group["weight_decay"] == 0))
    assert {"head.weight"} <= set().union(*(found for found, group in groups if group["weight_decay"] == 0.01))


def test_groups_are_layers_or_coarse_ones_in_the_order_of_the_computation(net):
    modules = [name for group in group_modules(net, net.group_matcher()).values() for name in group]
    assert modules == [name for name, module in net.named_modules() if module._parameters]
    coarse = group_parameters(net, net.group_matcher(coarse=True))
    children = [
        [name for name, _ in net.named_parameters() if name.partition(".")[0] == child] for child, _ in net.named_children()
    ]
    assert list(coarse.values()) == [names for names in children if names]


def test_checkpointing_is_accepted_where_inputs_are_found_again_and_refused_where_they_are_kept():
    for name in ("lipnet", "lipnet of patches"):
        build(CONFIGS[name]).set_grad_checkpointing()
    for config in CONFIGS.values():
        linear = build(dataclasses.replace(config, family="aol"))
        linear.set_grad_checkpointing(enable=False)
        with pytest.raises(ConfigError, match="aol:"):
            linear.set_grad_checkpointing()
    others = (dataclasses.replace(CONFIGS["lipnet"], maxmin=True), "LipNet"), (CONFIGS["lipnet of windows"], "LipNet")
    for config, name in ((CONFIGS["lipconvnet"], "LipConvNet"), *others):
        with pytest.raises(ConfigError, match=rf"{name} .*sll:"):
            build(config).set_grad_checkpointing()


def _noted(kept, x):
    kept[x.data_ptr()] = x
    return x


def test_with_checkpointing_the_inputs_of_convolutions_are_not_kept_in_mixed_precision():
    torch.manual_seed(0)
    net = build(dataclasses.replace(CONFIGS["lipnet"], conv_layers=6))
    images = torch.rand(64, *net.config.input_shape)
    kept, gradients = {}, {}
    for enable in (False, True):
        net.set_grad_checkpointing(enable)
        net.zero_grad()
        kept[enable] = {}
        note = torch.autograd.graph.saved_tensors_hooks(partial(_noted, kept[enable]), lambda x: x)
        with note, torch.autocast("cpu", torch.bfloat16):
            loss = net(images).float().square().sum()
        loss.backward()
        gradients[enable] = torch.cat([parameter.grad.flatten() for parameter in net.convs.parameters()])
    sizes = {enable: sum(x.nbytes for x in tensors.values()) for enable, tensors in kept.items()}
    assert sizes[True] < 0.8 * sizes[False]  # of each convolution, 3 hidden channels instead of these and its 6 inputs
    assert torch.cosine_similarity(gradients[True], gradients[False], 0) > 0.995  # both in products of 8 bits


def test_a_network_that_defines_its_body_as_a_whole_has_no_stages(images):
    class Whole(LipschitzClassifier):
        def body(self, x):
            return x.flatten(1)

    config = type("Config", (type(CONFIGS["lipnet"]),), {"num_features": 96})(**vars(CONFIGS["lipnet"]))
    net = Whole(config)
    net.reset_classifier(10)
    assert net.double()(images).shape == (2, 10)
    with pytest.raises(ConfigError, match=r"Whole .*stages:"):
        net.forward_intermediates(images)
