"""A hook of MkDocs: pages from files outside docs/, and links between files of the checkout as links between pages.

Each is written as a file of the checkout, with links to other files that a reader of the checkout can follow. Here a link becomes
one to the page of that file. What is linked and has no page yet gets one, under ``source/``, so that no link leaves the site.
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from website import navigation

ROOT = Path(__file__).parents[1]
# Pages from elsewhere in the checkout, and where they are in the site.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "readme.md",
    "sll_zoo/certificates/soundness/README.md": "concepts/soundness.md",
    **{f"benchmarks/{path.name}": f"benchmarks/{path.name}" for path in sorted((ROOT / "benchmarks").glob("*.md"))},
}
TITLES = {target: {"How fast, compiled?": target} for target in ("benchmarks/speed_compiled.md",)}  # others have their own
PICTURES = (".png", ".svg", ".jpg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json"}
FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
LIST = re.compile(r"^(?!\s*(?:[-*] |\d+\. )|[|#>\s])(.+)\n(?=(?:- |\d+\. ))", re.MULTILINE)

_address: dict[str, str] = {}  # of a file of the checkout, by its path: its place in the site


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of benchmarks into the navigation."""
    pages = [TITLES.get(target, target) for target in INCLUDED.values() if target.startswith("benchmarks/")]
    navigation.extend(config, "Benchmarks", pages)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the included pages, and everything that any page links to."""
    _address.clear()
    _address.update({f"docs/{file.src_uri}": file.src_uri for file in files if file.generated_by is None})
    waiting = [path for path in _address if path.endswith(".md")]
    for path, target in INCLUDED.items():
        _add(path, target, files, config)
        waiting.append(path)
    while waiting:
        page = waiting.pop()
        for path in _linked(page):
            if path not in _address:
                _add(path, _home(path, files), files, config)
                if path.endswith(".md"):
                    waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' signature
    """Turn links to files into links to pages, and set lists apart from the text before them, as Python-Markdown wants it."""
    here = next((path for path, target in _address.items() if target == page.file.src_uri), None)
    if here is None or (page.file.src_uri.startswith("source/") and not here.endswith(".md")):
        return markdown
    start = posixpath.dirname(page.file.src_uri)

    def replaced(link: re.Match[str]) -> str:
        path = _resolved(here, link[0])
        return link[0] if path is None else posixpath.relpath(_address[path], start or ".")

    return _outside_code(markdown, lambda text: LIST.sub(r"\1\n\n", LINK.sub(replaced, text)))


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    return "".join(part if index % 2 else change(part) for index, part in enumerate(FENCE.split(markdown)))


def _linked(page: str) -> list[str]:
    text = "".join(FENCE.split((ROOT / page).read_text("utf-8"))[::2])
    return [path for link in LINK.findall(text) if (path := _resolved(page, link)) is not None]


def _resolved(page: str, link: str) -> str | None:
    """Return the file of the checkout that a link of a page means, or None for an address."""
    if "://" in link or link.startswith("mailto:"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if path in _address or not (ROOT / path).exists():
        return path if path in _address else None  # MkDocs complains of what does not exist
    return f"{path}/README.md" if (ROOT / path).is_dir() else path


def _home(path: str, files: Files) -> str:
    """Return where a linked file is in the site: a model's card where the zoo has its page, others under source/."""
    model = re.fullmatch(r"checkpoints/(?:([\w.]+)/)?README\.md", path)
    if model and files.get_file_from_path(page := f"zoo/{model[1] or 'index'}.md"):
        return page
    if path.endswith(PICTURES):
        return path
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def _add(path: str, target: str, files: Files, config: MkDocsConfig) -> None:
    _address[path] = target
    if files.get_file_from_path(target):
        return
    if path.endswith(PICTURES):
        files.append(File.generated(config, target, abs_src_path=str(ROOT / path)))
        return
    text = (ROOT / path).read_text("utf-8")
    if not path.endswith(".md"):
        text = f"# {path}\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}\n````\n"
    files.append(File.generated(config, target, content=text))
