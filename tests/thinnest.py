"""Networks of the structure of others, at little cost."""

from dataclasses import replace

from sll_zoo.models import LipConvNetConfig


def thinnest(config):
    """Return the shape of the network of the same structure with the fewest channels."""
    if isinstance(config, LipConvNetConfig):
        return replace(config, width=config.in_chans + config.in_chans % 2)
    return replace(config, width=config.least_width, conv_inner=1, dense_inner=1)
