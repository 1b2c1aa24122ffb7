"""sll_zoo: image classifiers whose robustness is proved.

1-Lipschitz networks in the algebra of "A Unified Algebraic Perspective on Lipschitz Neural Networks" (Araujo et al., ICLR 2023),
certificates in L2, and a model zoo in timm's registry. Importing the package registers the models with timm.
"""

from sll_zoo.attacking import Attack, attack
from sll_zoo.auditing import Audit, audit
from sll_zoo.certification import Certificate, certify
from sll_zoo.deployment import Exported, export
from sll_zoo.evaluation import Evaluation, evaluate
from sll_zoo.layers import fold
from sll_zoo.losses import OffsetCrossEntropy
from sll_zoo.metrics import CertifiedAccuracy, CertifiedAccuracyCurve, MeanCertifiedRadius
from sll_zoo.publishing import publish
from sll_zoo.soundness import freeze
from sll_zoo.tasks import CertifiedClassifier
from sll_zoo.zoo import create_model, list_models, pull, quantize

__version__ = "0.1.0"

__all__ = [
    "Attack",
    "Audit",
    "Certificate",
    "CertifiedAccuracy",
    "CertifiedAccuracyCurve",
    "CertifiedClassifier",
    "Evaluation",
    "Exported",
    "MeanCertifiedRadius",
    "OffsetCrossEntropy",
    "attack",
    "audit",
    "certify",
    "create_model",
    "evaluate",
    "export",
    "fold",
    "freeze",
    "list_models",
    "publish",
    "pull",
    "quantize",
]
