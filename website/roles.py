"""An extension of griffe: roles in docstrings, such as :func:`~sll_zoo.certify`, become links of the reference."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)  # griffe knows the plural as code
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrite the docstrings of a package as Markdown, once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:  # noqa: ARG002 - griffe's signature
        """Replace each role by a link where its target has a place in the reference, else by its name."""
        for module in _modules(pkg):
            for thing in _definitions(module):
                if thing.docstring:
                    text = EXAMPLE.sub("Examples:", thing.docstring.value)
                    thing.docstring.value = ROLE.sub(lambda role, thing=thing: _link(role, thing, pkg), text)


def _modules(module: griffe.Module) -> list[griffe.Module]:
    inner = [child for child in module.modules.values() if not child.is_alias]
    return [module, *(found for child in inner for found in _modules(child))]


def _definitions(scope: griffe.Object) -> list[griffe.Object]:
    inner = [child for child in scope.members.values() if not child.is_alias and not child.is_module]
    return [scope, *(found for child in inner for found in _definitions(child))]


def _link(role: re.Match[str], scope: griffe.Object, package: griffe.Module) -> str:
    short, name = role.groups()
    shown = f"`{name.rpartition('.')[2] if short else name}`"
    target = _target(name, scope, package)
    return f"[{shown}][{target}]" if target else shown


def _target(name: str, scope: griffe.Object, package: griffe.Module) -> str | None:
    """Return the path where the thing of a name is defined, if the reference shows it."""
    candidates = [name.removeprefix(f"{package.name}.")] if name.startswith(f"{package.name}.") else []
    here: griffe.Object | None = scope
    while here is not None and not candidates:
        path = here.path.removeprefix(package.name).removeprefix(".")
        candidates.extend([f"{path}.{name}".removeprefix(".")] if _has(here, name) else [])
        here = here.parent
    for path in candidates or _by_name(name, package):
        found = package[path]
        home = found.final_target.path if found.is_alias else found.path
        if home.startswith(package.name) and _is_shown(package, home):
            return home
    return None


def _is_shown(package: griffe.Module, home: str) -> bool:
    thing: griffe.Object | griffe.Alias | None = package[home.removeprefix(f"{package.name}.")]
    while thing is not None and thing is not package:
        if thing.name.startswith("_") or not thing.has_docstring:
            return False
        thing = thing.parent
    return True


def _has(scope: griffe.Object, name: str) -> bool:
    try:
        scope[name]
    except KeyError:
        return False
    return True


def _by_name(name: str, package: griffe.Module) -> list[str]:
    """Return the definition of a name that only one module has."""
    first, _, rest = name.partition(".")
    homes = [module for module in _modules(package) if first in module.members and not module.members[first].is_alias]
    if len(homes) != 1 or (rest and not _has(homes[0], name)):
        return []
    return [f"{homes[0].path}.{name}".removeprefix(f"{package.name}.")]
