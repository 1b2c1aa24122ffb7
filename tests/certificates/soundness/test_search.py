"""A search over neighbouring floats: it breaks plain radii of a network that is built for it, and no sound one."""

import pytest
import torch

import sll_zoo
from sll_zoo.functional.certificate import certified_radius
from sll_zoo.models import LipNet, LipNetConfig
from tests.marks import slow_but


def cancelling_network(seed):
    """Return a network whose one layer adds a huge vector, which its head does not see but for its rounding."""
    torch.manual_seed(seed)
    sizes = {"conv_layers": 0, "conv_inner": 1, "dense_layers": 1, "dense_inner": 1, "pool": 1}
    net = LipNet(LipNetConfig(width=3, img_size=8, num_classes=2, **sizes)).eval()
    layer = net.denses[0]
    with torch.no_grad():
        layer.bias.fill_(1e5)
        net.head.weight.sub_(net.head.weight @ layer.weight.mT @ layer.weight / layer.weight.square().sum())
    return net


def flipped(executed, net, image, prediction, radius):
    """Return whether an image within the radius is of another class: steps to the boundary, rounded to neighbouring floats."""
    rows = net.head.unit_rows().detach()
    toward = (rows[1 - prediction] - rows[prediction]).view_as(image).double()
    generator = torch.Generator().manual_seed(0)
    share = torch.linspace(0.02, 0.98, 250, dtype=torch.float64).view(-1, 1, 1, 1)
    noise = torch.randn(250, *image.shape[1:], generator=generator, dtype=torch.float64)
    noise /= noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    candidates = (image.double() + share * radius * (toward / toward.norm() + 0.1 * noise)).to(image.dtype)
    near = (candidates.double() - image.double()).flatten(1).norm(dim=1) * (1 + 1e-12) < radius
    classes = torch.cat([executed(candidate[None]).argmax(1) for candidate in candidates])
    return bool((near & (classes != prediction)).any())


@pytest.mark.parametrize("seeds", slow_but([range(1, 2)], [range(1, 2), range(6)]))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_searching_neighbouring_floats_breaks_plain_radii_of_a_network_built_for_it_and_never_a_sound_one(dtype, seeds):
    broken = {"plain": 0, "sound": 0}
    for seed in seeds:
        net, image = cancelling_network(seed).to(dtype), torch.rand(1, 3, 8, 8, dtype=dtype)
        for margin in (0.3, 3.0, 1e4):
            with torch.no_grad():
                net.head.bias.zero_()
                logits = net(image)[0]
                net.head.bias[0] = logits[1] - logits[0] + margin * 1e5 * torch.finfo(dtype).eps
            plain = certified_radius(net(image), net.pairwise_lipschitz())
            broken["plain"] += flipped(net, net, image, *plain)
            frozen = sll_zoo.freeze(net, dtype)
            sound = sll_zoo.certify(frozen, image)
            broken["sound"] += flipped(frozen, net, image, sound.prediction, sound.radius)
    assert broken["sound"] == 0
    assert broken["plain"] >= len(seeds) / 2
