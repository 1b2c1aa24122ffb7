"""A hook of MkDocs: a page of reference for each folder of the package, from its docstrings."""

import ast
import inspect
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FunctionType, ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from website import navigation
from website.roles import ROLE

PACKAGE = Path(__file__).parents[1] / "sll_zoo"
LEFT_OUT = {"sll_zoo.__main__", "sll_zoo.cli"}  # the command line, of which `sll-zoo --help` is the reference


def packages() -> dict[str, list[str]]:
    """Return the modules that stand on the page of each folder, by the folder's dotted name."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not any(name == left or name.startswith(f"{left}.") for left in LEFT_OUT):
            folder = name if parts[-1] == "__init__" else ".".join(parts[:-1])
            found.setdefault(folder, []).append(name)
    return {folder: sorted(modules, key=lambda module: (module != folder, module)) for folder, modules in sorted(found.items())}


def definitions(module: str) -> list[str]:
    """Return the public names that a module defines itself, beyond those that it imports."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = [node.name for node in _tree(module).body if isinstance(node, kinds) and not node.name.startswith("_")]
    return [*defined, *constants(module)]


def constants(module: str) -> dict[str, str]:
    """Return the docstring of each public value of a module that has one, by its name."""
    found = {}
    for node, text in pairwise(_tree(module).body):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if targets and isinstance(targets[0], ast.Name) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[targets[0].id] = str(text.value.value)
    return {name: text for name, text in found.items() if not name.startswith("_")}


def _tree(module: str) -> ast.Module:
    path = PACKAGE.parent / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(source.read_text("utf-8"))


def page(folder: str, modules: list[str]) -> str:
    """Return the page of a folder: its public names, and each of its modules with all that it defines."""
    shown = [f"::: {module}" for module in modules if module != folder and definitions(module)]
    return "\n\n".join([f"# `{folder}`", _opening(folder), *shown]) + "\n"


def _opening(folder: str) -> str:
    """Return what a folder says of itself, a table of the names that it makes public, and what it defines itself."""
    package = import_module(folder)
    rows = [f"| [`{folder}.{name}`][{home}] | {first} |" for name, home, first in _public(package)]
    table = "\n".join(["| name | what it is |", "| --- | --- |", *rows]) if rows else ""
    return f"{_plain(package.__doc__)}\n\n{table}\n\n" + "\n\n".join(f"::: {folder}.{name}" for name in definitions(folder))


def _public(package: ModuleType) -> list[tuple[str, str, str]]:
    """Return the name, the place of definition, and the first sentence of each thing that a package makes public."""
    modules = packages()[package.__name__]
    values = {name: (f"{module}.{name}", text) for module in modules for name, text in constants(module).items()}
    found = []
    for name in sorted(getattr(package, "__all__", ())):
        if name in values:
            home, text = values[name]
            found.append((name, home, _plain(text)))
            continue
        thing = getattr(package, name)
        if isinstance(thing, type | FunctionType):
            found.append((name, f"{thing.__module__}.{thing.__qualname__}", _plain(inspect.getdoc(thing)).split("\n\n")[0]))
    return [(name, home, " ".join(first.split()).replace("|", "\\|")) for name, home, first in found]


def _plain(text: str | None) -> str:
    """Return a docstring with names in place of roles, for where no link is needed."""
    return ROLE.sub(lambda role: f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`", text or "")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation."""
    navigation.extend(config, "Reference", [f"reference/{folder}.md" for folder in packages()])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for folder, modules in packages().items():
        files.append(File.generated(config, f"reference/{folder}.md", content=page(folder, modules)))
    return files
