"""Loaders that give every image exactly once, and the same training batches, on any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from sll_zoo.data.images import together
from sll_zoo.errors import ConfigError


class UnpaddedSampler(DistributedSampler[Any]):
    """Deals the images out to the processes, in turn and in order, and repeats none.

    torch's own sampler repeats images until all processes have the same number; a repeated image would count twice. Lightning
    does not replace a distributed sampler that it finds in a loader.

    Args:
        dataset: The data set, with a length.
        num_replicas: Number of processes; by default that of the process group.
        rank: Index of this process; by default as the process group says.

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
    """A loader that gives each process at least one batch: an empty one if there are fewer images than processes.

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


def evaluation_loader(dataset: Dataset[Any], batch_size: int, num_workers: int = 0) -> DataLoader[Any]:
    """Return the batches of a data set in order; within a process group, this process's share, no image twice.

    Args:
        dataset: Pairs of image and label, with a length.
        batch_size: Images in a batch.
        num_workers: Processes that read images ahead; none by default.

    Example:
        >>> import torch
        >>> data = torch.utils.data.TensorDataset(torch.rand(5, 1, 8, 8), torch.zeros(5))
        >>> [len(labels) for _, labels in evaluation_loader(data, batch_size=2)]
        [2, 2, 1]
    """
    sampler = UnpaddedSampler(dataset) if grouped() else None
    return EvaluationLoader(dataset, batch_size=batch_size, sampler=sampler, collate_fn=together, **_workers(num_workers))


class GlobalBatchSampler(DistributedSampler[Any]):
    """Shuffles the images into batches and gives each process its share of each: the same batches for any number of processes.

    The order comes from torch's global generator, that of the first process if there are several, when the first image is asked
    for. A last batch that is not full is left out.

    Args:
        dataset: The data set, with a length.
        batch_size: Images in a batch of all processes together; the number of processes divides it.
        num_replicas: Number of processes.
        rank: Index of this process.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> sampler = GlobalBatchSampler(range(9), batch_size=4)
        >>> len(sampler), len(set(sampler))
        (8, 8)
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, drop_last=True)
        self.share = batch_size // num_replicas
        images = len(cast("Sized", dataset))
        self.total_size = images - images % batch_size
        self.num_samples = self.total_size // num_replicas

    def __iter__(self) -> Iterator[int]:
        """Return the indices of this process's images, batch after batch."""
        generator = torch.Generator().manual_seed(_common_seed())
        order = torch.randperm(len(cast("Sized", self.dataset)), generator=generator)[: self.total_size]
        return iter(order.view(-1, self.num_replicas, self.share)[:, self.rank].flatten().tolist())


class TrainingLoader(DataLoader[Any]):
    """A loader that starts only when the first batch is asked for.

    Lightning makes the iterator of an epoch before it calls callbacks at its start, and worker processes would read ahead: if a
    callback then set torch's generator, it would be too late.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # what torch returns is an iterator, too
        """Return the batches."""
        yield from super().__iter__()


def training_loader(dataset: Dataset[Any], batch_size: int, num_workers: int = 0) -> DataLoader[Any]:
    """Return shuffled batches; within a process group, this process's share of each.

    Args:
        dataset: Pairs of image and label, with a length.
        batch_size: Images in a batch of all processes together.
        num_workers: Processes that read images ahead; none by default.

    Raises:
        ConfigError: A batch size that the number of processes does not divide, or that exceeds the number of images.
    """
    world, rank = (distributed.get_world_size(), distributed.get_rank()) if grouped() else (1, 0)
    if batch_size % world:
        raise ConfigError(f"batch_size={batch_size} for {world} processes", f"give a multiple of {world}: all share a batch")
    if (images := len(cast("Sized", dataset))) < batch_size:
        remedy = f"give at most {images}, and a search of the batch size max_val={images // 2}"
        raise ConfigError(f"batch_size={batch_size} for {images} images to train on", remedy)
    sampler = GlobalBatchSampler(dataset, batch_size, world, rank)
    return TrainingLoader(dataset, batch_size=sampler.share, sampler=sampler, collate_fn=together, **_workers(num_workers))


def grouped() -> bool:
    """Return whether this process belongs to a process group, whose processes share the images."""
    return distributed.is_available() and distributed.is_initialized()


def _common_seed() -> int:
    """Draw a seed from torch's global generator; if there are several processes, all get the seed of the first."""
    seed = [int(torch.randint(2**62, ()))]
    if grouped():
        distributed.broadcast_object_list(seed)
    return seed[0]


def _workers(number: int) -> dict[str, Any]:
    """Return a loader's options for so many processes that read ahead."""
    return {"num_workers": number, "persistent_workers": number > 0, "pin_memory": number > 0 and torch.cuda.is_available()}
