"""Certificates as torchmetrics, exact over any number of processes."""

from sll_zoo.metrics.accuracy import CertifiedAccuracy
from sll_zoo.metrics.radius import CertifiedAccuracyCurve, MeanCertifiedRadius

__all__ = ["CertifiedAccuracy", "CertifiedAccuracyCurve", "MeanCertifiedRadius"]
