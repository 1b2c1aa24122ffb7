"""sll_zoo: image classifiers whose robustness is proved.

1-Lipschitz networks in the algebra of "A Unified Algebraic Perspective on Lipschitz Neural Networks" (Araujo et al., ICLR 2023),
certificates in L2 and L∞, and a model zoo in timm's registry. Importing the package registers the models with timm.
"""

from importlib import import_module
from types import ModuleType

import lazy_loader
import wrapt

__version__ = "0.1.0"

__all__ = [
    "Attack",
    "Audit",
    "Certificate",
    "CertifiedAccuracy",
    "CertifiedAccuracyCurve",
    "CertifiedClassifier",
    "Evaluation",
    "Explanation",
    "Exported",
    "MeanCertifiedRadius",
    "OffsetCrossEntropy",
    "attack",
    "audit",
    "certify",
    "create_model",
    "evaluate",
    "explain",
    "export",
    "fold",
    "freeze",
    "grow",
    "list_models",
    "load_images",
    "publish",
    "pull",
    "quantize",
]

# Names are imported when they are first used; __init__.pyi says from where, for lazy_loader and for type checkers.
__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)


# Registration waits until timm is imported, so that `sll-zoo --help` does not wait for torch.
@wrapt.when_imported("timm")
def _register_models(_timm: ModuleType) -> None:
    import_module("sll_zoo.zoo.entries")
