"""Certificates of networks, measurements and audits with them, and attacks that test them."""

import lazy_loader

SUBMODULES = ("adversaries", "attacking", "auditing", "bounds", "certification", "evaluation", "explaining", "soundness")
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, SUBMODULES)
