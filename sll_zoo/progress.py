"""A progress bar that counts images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor


class _Rate(ProgressColumn):
    """Images in a second, so far."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.{0 if speed >= 10 else 2}f} images/s" if speed else "", style="progress.data.speed")


def track_images(batches: Iterable[tuple[Tensor, Tensor]], total: int, description: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Hand on ``batches`` while a bar on the terminal shows how many images are done, the rate, and the time that remains.

    Args:
        batches: Pairs of images (b, ...) and labels (b,).
        total: Number of images in all.
        description: What is done to them.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch[1]))
