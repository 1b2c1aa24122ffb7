"""Loaders that give every image exactly once, to one process or to many."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class UnpaddedSampler(DistributedSampler[Any]):
    """Deals the images out to the processes, in turn and in order, and repeats none.

    torch's own sampler repeats images until every process has as many; a repeated image counts twice. Lightning leaves a
    distributed sampler that it finds in a loader as it is.

    Args:
        dataset: What is dealt out.
        num_replicas: Number of processes; by default that of the process group.
        rank: Which of them this is; by default as the process group says.

    Example:
        >>> [list(UnpaddedSampler(range(5), num_replicas=3, rank=rank)) for rank in range(3)]
        [[0, 3], [1, 4], [2]]
    """

    def __init__(self, dataset: Dataset[Any], num_replicas: int | None = None, rank: int | None = None) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.total_size = len(cast("Sized", dataset))
        self.num_samples = len(self._indices())

    def __iter__(self) -> Iterator[int]:
        """Return the indices of this process's images."""
        return iter(self._indices())

    def _indices(self) -> range:
        return range(self.rank, self.total_size, self.num_replicas)


class EvaluationLoader(DataLoader[Any]):
    """Gives each process at least one batch: one of no images where there are fewer images than processes.

    A process without a batch would leave Lightning's loop before the others have gathered their counts from it.
    """

    def __len__(self) -> int:
        """Return the number of batches."""
        return super().__len__() or min(1, len(cast("Sized", self.dataset)))

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # what torch returns is an iterator, too
        """Return the batches."""
        if super().__len__():
            yield from super().__iter__()
        elif len(self):
            yield [part[:0] for part in self.collate_fn([self.dataset[0]])]


def evaluation_loader(dataset: Dataset[Any], batch_size: int) -> DataLoader[Any]:
    """Return the batches of a data set in order; within a process group, this process's share, no image twice.

    Args:
        dataset: Pairs of image and label, with a length.
        batch_size: Images in a batch.

    Example:
        >>> import torch
        >>> data = torch.utils.data.TensorDataset(torch.rand(5, 1, 8, 8), torch.zeros(5))
        >>> [len(labels) for _, labels in evaluation_loader(data, batch_size=2)]
        [2, 2, 1]
    """
    sampler = UnpaddedSampler(dataset) if distributed.is_available() and distributed.is_initialized() else None
    return EvaluationLoader(dataset, batch_size=batch_size, sampler=sampler)
