"""The metadata at the head of a model card, for the Hub: the kind of model, and accuracies with norm, ε and number of images."""

from __future__ import annotations

from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from sll_zoo.zoo.records.record import Measurement, Record

# Names of data sets on the Hub.
HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100", "tiny_imagenet": "zh-plus/tiny-imagenet"}


def render_metadata(record: Record) -> str:
    """Return the metadata of a record as YAML."""
    measured = record.measured
    hub_dataset = HUB_DATASETS.get(measured.dataset) if measured else None
    data = ModelCardData(
        library_name="timm",
        license=record.license,
        pipeline_tag="image-classification",
        tags=["timm", "sll_zoo", "certified-robustness", "lipschitz", "image-classification"],
        datasets=[hub_dataset] if hub_dataset else None,
        metrics=["accuracy"] if measured else None,
        model_name=record.name if measured else None,
        eval_results=_eval_results(measured) if measured else None,
    )
    return str(data.to_yaml())


def _eval_results(measured: Measurement) -> list[EvalResult]:
    about: dict[str, Any] = {
        "task_type": "image-classification",
        "dataset_type": HUB_DATASETS.get(measured.dataset, measured.dataset),
        "dataset_name": measured.dataset,
        "dataset_split": "test",
    }
    results = [EvalResult(**about, metric_type="accuracy", metric_name="Clean accuracy", metric_value=measured.accuracy.clean)]
    rows = [("certified", "Lipschitz margin", measured.n, row) for row in measured.accuracy.certified]
    for attacked in measured.empirical:
        rows += [("certified", "Lipschitz margin", attacked.n, row) for row in attacked.certified or ()]
        rows += [("empirical", attacked.method, attacked.n, row) for row in attacked.accuracy]
    for kind, method, n, row in dict.fromkeys(rows):  # two attacks on the same images repeat the certified rows
        results.append(
            EvalResult(
                **about,
                metric_type=f"{kind}_accuracy",
                metric_name=f"{kind.capitalize()} accuracy ({measured.norm}, eps={row.label}, {n:,} images)",
                metric_value=row.accuracy,
                metric_args={"norm": measured.norm, "eps": row.eps, "n": n, "method": method},
            )
        )
    return results
