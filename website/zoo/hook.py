"""A hook of MkDocs: the zoo's table, and a page for each shipped network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from sll_zoo.zoo.folder import CHECKPOINTS, ModelFolder
from sll_zoo.zoo.publishing.results import RESULTS
from sll_zoo.zoo.records.card import CARD_FILE, CURVE_FILE, TRAINING_FILE
from sll_zoo.zoo.records.record import read_records
from website import navigation
from website.zoo.model import HEIGHT, WIDTH, Results
from website.zoo.networks import COLUMNS, networks

TABLE = "<!-- table of networks -->"
METADATA = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation."""
    navigation.extend(config, "Zoo", [f"zoo/{name}.md" for name in read_records()])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each network, its picture, and the radii that its script asks for."""
    for name in read_records():
        folder = ModelFolder.read(CHECKPOINTS / name)
        results = _results(folder)
        files.append(File.generated(config, f"zoo/{name}.md", content=page(folder, results)))
        files.append(File.generated(config, f"zoo/{name}/{CURVE_FILE}", abs_src_path=str(folder.path / CURVE_FILE)))
        if results:
            radii = msgspec.json.encode(results.data()).decode()
            files.append(File.generated(config, f"zoo/{name}/radii.json", content=radii))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' signature
    """Put the table into the page that has a place for it."""
    return markdown.replace(TABLE, table())


def table() -> str:
    """Return the table of networks, with what its script needs to sort and filter it."""
    rows = networks()
    choices = {column: _choices([row.cells[column].value for row in rows]) for column in ("data", "norm", "family", "bits")}
    radii: dict[str, None] = {}
    for row in rows:
        radii.update(dict.fromkeys((label, row.cells["norm"].text) for label in row.certified))
    years = sorted({row.year for row in rows} - {""})
    return _render("networks.html.jinja", rows=rows, columns=COLUMNS, choices=choices, radii=radii, years=years)


def page(folder: ModelFolder, results: Results | None) -> str:
    """Return a network's page: its card, with what is known of single images after the lines that load it."""
    name = folder.path.name
    card = METADATA.sub("", (folder.path / CARD_FILE).read_text("utf-8"))
    card = card.replace(f"({CURVE_FILE})", f"({name}/{CURVE_FILE})").replace(f"({TRAINING_FILE})", "(#training-yaml)")
    before, heading, after = card.partition("## Measured\n")
    parts = [before, _render("model.html.jinja", results=results, width=WIDTH, height=HEIGHT) if results else "", heading + after]
    if folder.training_yaml:
        parts.append(f"## {TRAINING_FILE} {{#training-yaml}}\n```yaml\n{folder.training_yaml}```\n")
    return "\n".join(parts)


def _results(folder: ModelFolder) -> Results | None:
    measured = folder.known().measured
    there = measured and all((folder.path / name).is_file() for name in RESULTS)
    return Results(folder.path, measured, folder.config["label_names"]) if measured and there else None


def _choices(values: list[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def _render(template: str, **values: Any) -> str:
    return TEMPLATES.get_template(template).render(values)
