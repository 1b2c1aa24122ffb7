"""A progress bar that counts images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor


class ImageRate(ProgressColumn):
    """A column with the images per second so far; a step of a task is one image, or as many as its field ``images`` says."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before there is one."""
        rate = (task.finished_speed or task.speed or 0) * task.fields.get("images", 1)
        return Text(f"{rate:,.{0 if rate >= 10 else 2}f} images/s" if rate else "", style="progress.data.speed")


def track_images(batches: Iterable[tuple[Tensor, Tensor]], total: int, description: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Hand on ``batches`` while a bar on the terminal shows how many images are done, the rate, and the time that remains.

    Args:
        batches: Pairs of images (b, ...) and labels (b,).
        total: Number of images in all.
        description: What is done to them.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), ImageRate(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch[1]))
