"""Losses as functions of logits and labels, and of the constants of the certificate."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

# Smallest fraction of ε that EMMA asks of each class, so that a class with an equal logit is pushed away, too. Source: its code.
SMALLEST_PART = 0.01


def offset_cross_entropy(
    logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"], offset: float, temperature: float
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of ``(logits − offset · onehot(target)) / temperature``, times ``temperature``.

    The true class must lead by more than ``offset`` before its loss becomes small: this enlarges margins, and so certified radii.
    A smaller offset gives more clean and less certified accuracy.

    Args:
        logits: (batch, classes).
        target: Class indices (batch,).
        offset: Margin asked for, in units of the logits.
        temperature: Divisor of the logits; the loss is multiplied by it, which keeps the scale of the gradient.

    Source: AOL, Prach and Lampert 2022 (arXiv 2208.03160); Araujo et al. 2023 use offset 3√2/2 and temperature 1/4.
    """
    return F.cross_entropy(_offset(logits, target, offset) / temperature, target) * temperature


def logit_annealing(
    logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"], offset: float, temperature: float, beta: float
) -> Float[Tensor, ""]:
    """Return the mean of ``−T (1 − p)^β log p``, p = softmax((logits − offset · onehot(target)) / T) at the true class.

    This is offset cross-entropy whose gradient fades as an image reaches its margin, so that the network's limited capacity is
    spent on the other images.

    Args:
        logits: (batch, classes).
        target: Class indices (batch,).
        offset: Margin asked for, in units of the logits.
        temperature: T.
        beta: β; 0 is :func:`offset_cross_entropy`.

    Source: Lai et al., ICML 2025 (arXiv 2505.15174), as in their code.
    """
    log_p = -F.cross_entropy(_offset(logits, target, offset) / temperature, target, reduction="none")
    return -(temperature * (-log_p.expm1()) ** beta * log_p).mean()


def margin_boosting(logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"], weight: float) -> Float[Tensor, ""]:
    """Return cross-entropy + ``weight`` times the mean over the images and their wrong classes j of ``−log softmax(−logits)ⱼ``.

    Cross-entropy pushes down the largest wrong logit; the second term pushes down all wrong logits.

    Source: margin-maximising cross-entropy, Zhang et al., ICML 2022 (arXiv 2206.03362). The released code of SLL divides the
    second term by the number of classes once more.
    """
    classes = logits.shape[1]
    wrong = 1 - F.one_hot(target, classes)
    others = -(F.log_softmax(-logits, 1) * wrong).sum(1).mean() / max(1, classes - 1)
    return F.cross_entropy(logits, target) + weight * others


def emma_logits(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    pairwise_lipschitz: Float[Tensor, "classes classes"],
    eps: float,
) -> Float[Tensor, "batch classes"]:
    """Return ``fⱼ − f_y + εⱼ L_yj``: each logit minus the true one, after the worst perturbation of length εⱼ.

    εⱼ is the radius within which class j cannot win, (f_y − fⱼ) / L_yj, clamped to ``eps``/100 … ``eps``: the loss asks of each
    class about the margin that it has. εⱼ is a constant for the gradient; L is not.

    Args:
        logits: f, (batch, classes).
        target: y, (batch,).
        pairwise_lipschitz: L, (classes, classes).
        eps: Largest radius that is asked for, in the network's norm and pixels of [0, 1].

    Source: efficient margin maximisation, Hu et al., NeurIPS 2023 (arXiv 2301.12549), as in their code.
    """
    behind = logits.gather(1, target[:, None]) - logits
    reach = eps * pairwise_lipschitz.to(logits)[target]
    # Classes with equal rows have L = 0: 1 stands in for it, since the quotient is multiplied by 0 later.
    part = (behind / reach.clamp(min=torch.finfo(logits.dtype).tiny)).clamp(SMALLEST_PART, 1).detach()
    return part * reach - behind


def certificate_regularization(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    pairwise_lipschitz: Float[Tensor, "classes classes"],
) -> Float[Tensor, ""]:
    """Return minus the mean over the images of the certified radius, 0 where the prediction is wrong.

    The radius is min over j ≠ y of (f_y − fⱼ) / L_yj; classes that no perturbation can bring nearer (L = 0) do not count.

    Args:
        logits: f, (batch, classes).
        target: y, (batch,).
        pairwise_lipschitz: L, (classes, classes).

    Source: certificate regularization, Singla, Singla and Feizi, ICLR 2022 (arXiv 2108.04062).
    """
    constants = pairwise_lipschitz.to(logits)[target]
    counts = (constants > 0) & (F.one_hot(target, logits.shape[1]) == 0)
    behind = logits.gather(1, target[:, None]) - logits
    # The inner torch.where keeps 0/0 out of the gradient.
    ratios = torch.where(counts, behind / torch.where(counts, constants, 1), torch.inf)
    radius = ratios.amin(1).relu()
    return -torch.where(radius.isfinite(), radius, 0).mean()


def hinge_kantorovich_rubinstein(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    counts: Int[Tensor, " classes"],
    alpha: float,
    margin: float,
) -> Float[Tensor, ""]:
    """Return α · hinge − (1 − α) · KR, each class against the others and averaged over the classes.

    For a class c with N_c of the N images, hinge is the mean over the images of ``w relu(margin/2 − s f_c)``, where s = 1 and
    w = classes − 1 for its own images, and s = −1 and w = 1 for the others; KR, an estimate of the Wasserstein distance between
    them, is the mean of f_c over its own images minus the mean over the others. A mean of no images is 0.

    Args:
        logits: f, (batch, classes).
        target: (batch,).
        counts: N_c, (classes,), of this batch, or of a larger batch of which this is a part: the losses of the parts then add up
            to the loss of the whole.
        alpha: α, from 0 (KR alone) to 1 (hinge alone).
        margin: In units of the logits.

    Source: Serrurier et al. 2021 (arXiv 2006.06520); several classes and w as in deel-torchlip.
    """
    classes = logits.shape[1]
    own = F.one_hot(target, classes).bool()
    total = counts.sum()
    hinge = F.relu(margin / 2 - torch.where(own, logits, -logits)) * torch.where(own, classes - 1, 1) / total
    kantorovich = torch.where(own, logits / counts.clamp(min=1), -logits / (total - counts).clamp(min=1))
    return (alpha * hinge - (1 - alpha) * kantorovich).sum() / classes


def _offset(logits: Tensor, target: Tensor, offset: float) -> Tensor:
    return logits - offset * F.one_hot(target, logits.shape[1]).to(logits)
