"""Digits with noise from torch's generator: in the loader, with or without workers, and on the batch, as augmentations do."""

import torch
from torch.utils.data import DataLoader, Dataset

from sll_zoo.data import Digits
from sll_zoo.errors import InputError


class NoisyImages(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        image, label = self.data[index]
        return (image + 0.1 * torch.rand_like(image)).clamp(max=1), label


class NoisyDigits(Digits):
    def __init__(self, batch_size=128, workers=0, images=1200):
        super().__init__(batch_size)
        self.workers = workers
        self.images = images

    def train_dataloader(self):
        data = NoisyImages(torch.utils.data.Subset(self._parts["train"], range(self.images)))
        return DataLoader(data, self.batch_size, shuffle=True, num_workers=self.workers)

    def on_after_batch_transfer(self, batch, dataloader_idx):  # noqa: ARG002 - Lightning's signature
        images, labels = batch
        return ((images + 0.1 * torch.rand_like(images)).clamp(max=1), labels) if self.trainer.training else batch


class BrokenOnOneProcess(NoisyDigits):
    """Data whose third batch the second process cannot read."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.training and self.trainer.global_rank == 1 and self.trainer.global_step == 2:
            raise InputError("images/7.png cannot be read", "restore or remove the file")
        return super().on_after_batch_transfer(batch, dataloader_idx)
