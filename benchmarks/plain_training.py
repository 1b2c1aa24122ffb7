"""The training of networks without a certificate, which stand beside the shipped ones in other pages."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.training.schedules import OneCycle


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch: int,
    rate: float,
    weight_decay: float,
    longest: float = math.inf,
) -> None:
    """Train a network on the images as they are, as the shipped ones: cross-entropy, AdamW, and one cycle of the rate.

    Args:
        network: In train mode.
        images: (n, channels, height, width).
        labels: Their classes (n,).
        epochs: Passes over the images.
        batch: Images of a step; the last ones of an epoch, which fill no batch, are left out.
        rate: Largest learning rate.
        weight_decay: That of AdamW.
        longest: Length to which gradients are cut.
    """
    steps = len(labels) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=weight_decay)
    schedule = OneCycle(optimizer, epochs * steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels))[: steps * batch].view(steps, batch):
            loss = F.cross_entropy(network(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), longest)
            optimizer.step()
            schedule.step()
