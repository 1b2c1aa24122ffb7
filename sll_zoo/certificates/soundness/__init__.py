"""Certificates that hold in floating point: networks as they are executed, and radii from which rounding is subtracted."""

from sll_zoo.certificates.soundness.frozen import FrozenNetwork, freeze
from sll_zoo.certificates.soundness.radius import sound_radius

__all__ = ["FrozenNetwork", "freeze", "sound_radius"]
