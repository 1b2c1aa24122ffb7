"""The YAML at the head of a model card: its content, and its errors."""

import re

import yaml

HEAD = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


def metadata(text):
    """Return the content of the head, an empty dict if there is none.

    Raises:
        yaml.YAMLError: The head is not YAML.
    """
    head = HEAD.match(text)
    return yaml.safe_load(head[1]) or {} if head else {}


def problems(text):
    """Return errors and warnings, as sentences."""
    try:
        known = metadata(text)
    except yaml.YAMLError as error:
        return [f"the metadata is not YAML: {error}"], []
    if not isinstance(known, dict):
        return [f"the metadata must be a mapping, not {type(known).__name__}"], []
    errors = [
        f'"{key}" must be a string or a list of strings'
        for key in ("tags", "datasets", "metrics", "language", "license", "library_name", "pipeline_tag")
        if not all(isinstance(value, str) for value in as_list(known.get(key, [])))
    ]
    warnings = [] if known else ["empty or missing yaml metadata in repo card"]
    return errors + result_problems(known.get("model-index", [])), warnings


def result_problems(index):
    """Return a message for each part of a model-index that the Hub needs and does not find."""
    models = as_list(index)
    if not all(has(model, "name", "results") for model in models):
        return ['"model-index" needs entries with "name" and "results"']
    results = [result for model in models for result in as_list(model["results"])]
    if all(has(result, "task", "dataset", "metrics") and is_complete(result) for result in results):
        return []
    return ["a result needs task.type, dataset.type, dataset.name, and of each metric type and value"]


def is_complete(result):
    described = has(result["task"], "type") and has(result["dataset"], "type", "name")
    return described and all(has(metric, "type", "value") for metric in as_list(result["metrics"]))


def has(value, *keys):
    return isinstance(value, dict) and set(keys) <= value.keys()


def as_list(value):
    return value if isinstance(value, list) else [value]
