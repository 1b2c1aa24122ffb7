"""Tables on the terminal."""

from __future__ import annotations

import torch
from rich import box
from rich.console import Console
from rich.table import Column, Table

from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.functional.certificate import radius_label
from sll_zoo.functional.norms import norm_label
from sll_zoo.reports.words import percent


def print_evaluation(evaluation: Evaluation) -> None:
    """Print a table of accuracies, the mean radius, the number of images and the time."""
    norm = norm_label(evaluation.norm)
    table = Table("", Column("accuracy", justify="right"), Column("images", justify="right"), box=box.SIMPLE_HEAD)
    table.add_row("clean accuracy", percent(evaluation.clean), str(int(evaluation.correct.sum())))
    for eps, count in evaluation.counts.items():
        table.add_row(f"certified at {radius_label(eps)} in {norm}", percent(evaluation.certified[eps]), str(count))
    Console().print(table)
    print(f"  mean certified radius {evaluation.mean_radius:.4f} in {norm} (a wrong prediction counts as 0)")
    if evaluation.sound:
        print(f"  rounding included: at most {evaluation.slack.max():.3g} was subtracted from a radius")
    print(f"  {evaluation.n} images in {evaluation.seconds:.2f} s, float64, {torch.get_num_threads()} threads\n")
